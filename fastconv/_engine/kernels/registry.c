/* One fc_kernels per level and element type, built from the families' exported tables. */
#include "kernels.h"

#define DECLARE(family, type, level) \
    extern const fc_##family##_kernels fc_##family##_##type##_##level;
#define MEMBER(family, type, level) .family = &fc_##family##_##type##_##level,
#define LEVEL(level)                                             \
    {                                                            \
        {#level, FC_FAMILIES(MEMBER, f32, level)},               \
        {#level, FC_FAMILIES(MEMBER, f64, level)},               \
    }
#define LEVEL_WITH_TILES(level)                                                  \
    {                                                                            \
        {"amx", FC_FAMILIES(MEMBER, f32, level).tiles = &fc_tiles_f32_amx},      \
        {"amx", FC_FAMILIES(MEMBER, f64, level)},                                \
    }

FC_FAMILIES(DECLARE, f32, baseline)
FC_FAMILIES(DECLARE, f64, baseline)
#ifdef FC_HAVE_X86
FC_FAMILIES(DECLARE, f32, avx2)
FC_FAMILIES(DECLARE, f64, avx2)
FC_FAMILIES(DECLARE, f32, avx512)
FC_FAMILIES(DECLARE, f64, avx512)
#endif

static const fc_kernels table[][2] = {
    LEVEL(baseline),
#ifdef FC_HAVE_X86
    LEVEL(avx2),
    LEVEL(avx512),
#endif
};

#ifdef FC_HAVE_AMX
DECLARE(tiles, f32, amx)
static const fc_kernels table_with_tiles[][2] = {
    LEVEL_WITH_TILES(baseline),
    LEVEL_WITH_TILES(avx2),
    LEVEL_WITH_TILES(avx512),
};
#endif

const fc_kernels *fc_kernels_for(int level, int tiles, int type) {
    const int levels = sizeof table / sizeof *table;
    if (level < 0 || level >= levels || type < 0 || type > 1) return NULL;
#ifdef FC_HAVE_AMX
    if (tiles) return &table_with_tiles[level][type];
#endif
    return tiles ? NULL : &table[level][type];
}
