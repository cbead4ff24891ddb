/* The kernel families: the list that registry.c gathers and the tests walk. A family is one source
 * file of this folder and exports one fc_<family>_kernels table per level and element type. */
#ifndef FC_FAMILIES_H
#define FC_FAMILIES_H

#define FC_FAMILIES(X, ...) X(gemm, __VA_ARGS__) X(finish, __VA_ARGS__) X(direct, __VA_ARGS__) \
    X(winograd, __VA_ARGS__) X(elementwise, __VA_ARGS__) X(pool, __VA_ARGS__) \
    X(gradient, __VA_ARGS__) X(pool_gradient, __VA_ARGS__) X(sums, __VA_ARGS__) \
    X(dots, __VA_ARGS__) X(filters, __VA_ARGS__) X(overlap, __VA_ARGS__) \
    X(halves, __VA_ARGS__) X(stationary, __VA_ARGS__)

#endif
