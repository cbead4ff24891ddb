"""Operations on arrays: check the arguments, plan once per signature, one call into the engine."""
