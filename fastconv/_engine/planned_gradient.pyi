class PlannedGradient:
    pays: bool
