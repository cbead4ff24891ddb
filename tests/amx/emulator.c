/* Intel AMX for machines without it: a library to preload, for tests only.
 *
 * A processor without tiles raises SIGILL at a tile instruction. The handler decodes it, does what
 * Intel's manual (Software Developer's Manual, volume 2, and its AMX chapter) says, and goes on
 * behind it:
 *
 *     LDTILECFG STTILECFG TILERELEASE TILEZERO TILELOADD TILELOADDT1 TILESTORED TDPBF16PS
 *
 * It is strict: where the processor would fault, and where correct code would not go, the process
 * says why on stderr and aborts. Linux's part is played as well: syscall() answers arch_prctl's
 * questions about tiles, and tiles used before ARCH_REQ_XCOMP_PERM are such a fault. Tiles belong to
 * a thread, and a forked child begins without.
 *
 *     AMX_EMULATOR=absent    the system has no tiles
 *     AMX_EMULATOR=denied    it has, and refuses them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, CONFIG_BYTES = 64 };
enum { TILEDATA = 18, GET_SUPPORTED = 0x1021, GET_PERMITTED = 0x1022, REQUEST = 0x1023 };
enum { SYS_ARCH_PRCTL = 158 };

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} config;
_Static_assert(sizeof(config) == CONFIG_BYTES, "64 bytes, as the processor reads them");

typedef union {
    uint8_t bytes[ROWS][ROW_BYTES];
    float f32[ROWS][ROW_BYTES / 4];
    uint32_t pairs[ROWS][ROW_BYTES / 4];
} tile __attribute__((aligned(64)));

static __thread config configured; /* palette 0: tiles are in their initial state */
static __thread tile tiles[TILES];
static int absent, denied, permitted;

/* For tests: how much of the work went through tiles. */
long amx_emulator_products;      /* TDPBF16PS of all threads */
long amx_emulator_configured;    /* threads whose tiles are not released */

static void fail(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    fputs("AMX emulator: ", stderr);
    vfprintf(stderr, format, rest);
    fputc('\n', stderr);
    fflush(stderr);
    abort();
}

/* ---- the system ---- */

static long raw_syscall(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return number;
}

static long arch_prctl(long what, unsigned long argument) {
    if (absent) return -EINVAL; /* as kernels before 5.16 */
    if (what == REQUEST) {
        if (argument != TILEDATA) return -EINVAL;
        if (denied) return -EPERM;
        permitted = 1;
        return 0;
    }
    *(uint64_t *)argument = 3 | (what == GET_SUPPORTED || permitted ? 3ul << 17 : 0);
    return 0;
}

long syscall(long number, ...) {
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    long answer;
    if (number == SYS_ARCH_PRCTL && a[0] >= GET_SUPPORTED && a[0] <= REQUEST)
        answer = arch_prctl(a[0], (unsigned long)a[1]);
    else
        answer = raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (answer < 0 && answer > -4096) {
        errno = (int)-answer;
        return -1;
    }
    return answer;
}

/* ---- the instructions ---- */

static void release(void) {
    if (configured.palette) __atomic_fetch_sub(&amx_emulator_configured, 1, __ATOMIC_RELAXED);
    memset(&configured, 0, sizeof configured);
    memset(tiles, 0, sizeof tiles);
}

static void load_config(const void *from) {
    config c;
    memcpy(&c, from, sizeof c);
    if (c.palette > 1) fail("LDTILECFG: palette %d is not supported", c.palette);
    for (size_t i = 0; i < sizeof c.reserved; i++)
        if (c.reserved[i]) fail("LDTILECFG: reserved byte %zu is not zero", 2 + i);
    if (c.start_row) fail("LDTILECFG: start_row is %d: correct code resumes nothing", c.start_row);
    for (int i = 0; i < 16; i++) {
        if ((i >= TILES || !c.palette) && (c.rows[i] || c.row_bytes[i]))
            fail("LDTILECFG: tile %d does not exist, its bytes must be zero", i);
        if (!c.rows[i] != !c.row_bytes[i])
            fail("LDTILECFG: tile %d has %d rows of %d bytes", i, c.rows[i], c.row_bytes[i]);
        if (c.rows[i] > ROWS || c.row_bytes[i] > ROW_BYTES)
            fail("LDTILECFG: tile %d is too large: %d rows of %d bytes", i, c.rows[i],
                 c.row_bytes[i]);
    }
    release();
    configured = c;
    if (c.palette) __atomic_fetch_add(&amx_emulator_configured, 1, __ATOMIC_RELAXED);
}

static void check(const char *name, int t) {
    if (!configured.palette) fail("%s: tiles are not configured in this thread", name);
    if (t >= TILES || !configured.rows[t]) fail("%s: tile %d is not configured", name, t);
}

static void load_tile(int t, const char *from, ptrdiff_t stride) {
    check("TILELOADD", t);
    memset(&tiles[t], 0, sizeof tiles[t]);
    for (int i = 0; i < configured.rows[t]; i++)
        memcpy(tiles[t].bytes[i], from + i * stride, configured.row_bytes[t]);
}

static void store_tile(int t, char *to, ptrdiff_t stride) {
    check("TILESTORED", t);
    for (int i = 0; i < configured.rows[t]; i++)
        memcpy(to + i * stride, tiles[t].bytes[i], configured.row_bytes[t]);
}

static float even_half(uint32_t pair) {
    const uint32_t bits = pair << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static float odd_half(uint32_t pair) {
    const uint32_t bits = pair & 0xffff0000u;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* The pairs' first and second products are two chains of fused multiply-adds, whose sum is added:
 * rounded to nearest even, denormals zero on the way in and out, whatever MXCSR says. */
static void multiply(int c, int a, int b) {
    static const char name[] = "TDPBF16PS";
    check(name, a), check(name, b), check(name, c);
    if (a == b || b == c || a == c) fail("%s: tiles %d, %d, %d are not distinct", name, c, a, b);
    const int rows = configured.rows[c], pairs = configured.row_bytes[a] / 4;
    const int columns = configured.row_bytes[c] / 4;
    if ((configured.row_bytes[a] | configured.row_bytes[b] | configured.row_bytes[c]) % 4)
        fail("%s: a row is no whole number of pairs", name);
    if (configured.rows[a] != rows || configured.row_bytes[b] != configured.row_bytes[c]
        || configured.rows[b] != pairs)
        fail("%s: shapes do not match: %dx%d += %dx%d * %dx%d", name, rows, columns,
             configured.rows[a], pairs, configured.rows[b], configured.row_bytes[b] / 4);
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* exceptions masked, nearest even, flush to zero, denormals are zeros */
    for (int m = 0; m < rows; m++) {
        float even[ROW_BYTES / 4] = {0}, odd[ROW_BYTES / 4] = {0};
        for (int k = 0; k < pairs; k++) {
            const float first = even_half(tiles[a].pairs[m][k]);
            const float second = odd_half(tiles[a].pairs[m][k]);
            for (int n = 0; n < ROW_BYTES / 4; n++) {
                even[n] = __builtin_fmaf(first, even_half(tiles[b].pairs[k][n]), even[n]);
                odd[n] = __builtin_fmaf(second, odd_half(tiles[b].pairs[k][n]), odd[n]);
            }
        }
        for (int n = 0; n < columns; n++) tiles[c].f32[m][n] += even[n] + odd[n];
    }
    _mm_setcsr(saved);
    __atomic_fetch_add(&amx_emulator_products, 1, __ATOMIC_RELAXED);
}

/* ---- decoding ---- */

static const int register_names[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

typedef struct {
    const uint8_t *at;  /* the ModRM byte */
    int high_reg, high_index, high_base; /* from VEX, 0 or 8 */
    const greg_t *registers;
} operand;

/* What an operand in memory says: base and displacement, the scaled index, where it ends. */
typedef struct {
    char *base;
    ptrdiff_t index;
    const uint8_t *end;
    int has_sib;
} place;

static place decode_place(const operand *o) {
    const uint8_t *p = o->at;
    const int mode = *p >> 6, rm = *p & 7;
    place found = {0};
    p++;
    greg_t base = 0;
    int displacement = mode == 1 ? 1 : mode == 2 ? 4 : 0, after_this = 0;
    if (rm == 4) {
        const int sib = *p++, index = (sib >> 3 & 7) | o->high_index;
        found.has_sib = 1;
        if (index != 4) found.index = o->registers[register_names[index]] << (sib >> 6);
        if ((sib & 7) == 5 && mode == 0) displacement = 4;
        else base = o->registers[register_names[(sib & 7) | o->high_base]];
    } else if (rm == 5 && mode == 0) {
        displacement = 4;
        after_this = 1;
    } else {
        base = o->registers[register_names[rm | o->high_base]];
    }
    int32_t distance = 0;
    if (displacement == 1) distance = (int8_t)*p;
    if (displacement == 4) memcpy(&distance, p, 4);
    p += displacement;
    if (after_this) base = (greg_t)p;
    found.base = (char *)base + distance;
    found.end = p;
    return found;
}

enum { NONE, P66, PF3, PF2 }; /* the VEX prefix's last two bits */

static const uint8_t *configuration(const operand *o, int prefix) {
    if (o->at[0] >> 6 == 3) {
        const int t = (o->at[0] >> 3 & 7) | o->high_reg;
        if (prefix == NONE && o->at[0] == 0xc0) release();
        else if (prefix == PF2 && (o->at[0] & 7) == 0) check("TILEZERO", t), memset(&tiles[t], 0, sizeof(tile));
        else return NULL;
        return o->at + 1;
    }
    const place memory = decode_place(o);
    if (o->at[0] >> 3 & 7) return NULL;
    if (prefix == NONE) load_config(memory.base + memory.index);
    else if (prefix == P66) memcpy(memory.base + memory.index, &configured, sizeof configured);
    else return NULL;
    return memory.end;
}

static const uint8_t *transfer(const operand *o, int prefix) {
    const int t = (o->at[0] >> 3 & 7) | o->high_reg;
    const place memory = decode_place(o);
    if (o->at[0] >> 6 == 3 || !memory.has_sib) return NULL;
    if (prefix == PF3) store_tile(t, memory.base, memory.index);
    else if (prefix == PF2 || prefix == P66) load_tile(t, memory.base, memory.index);
    else return NULL;
    return memory.end;
}

/* The instruction at p; where the next one begins, or NULL if it is none of the tiles'. */
static const uint8_t *execute(const uint8_t *p, const greg_t *registers) {
    if (p[0] != 0xc4 || (p[1] & 31) != 2 || p[2] & 0x84) return NULL; /* VEX.128.0F38.W0 */
    const int prefix = p[2] & 3, source = ~(p[2] >> 3) & 15, opcode = p[3];
    const operand o = {p + 4, p[1] & 0x80 ? 0 : 8, p[1] & 0x40 ? 0 : 8, p[1] & 0x20 ? 0 : 8,
                       registers};
    if (opcode != 0x49 && opcode != 0x4b && opcode != 0x5c) return NULL;
    if (!permitted) fail("tiles used before the system permitted them");
    if (opcode == 0x5c) {
        if (prefix != PF3 || p[4] >> 6 != 3) return NULL;
        multiply((p[4] >> 3 & 7) | o.high_reg, (p[4] & 7) | o.high_base, source);
        return p + 5;
    }
    if (source) return NULL; /* vvvv names nothing here */
    return opcode == 0x49 ? configuration(&o, prefix) : transfer(&o, prefix);
}

static void on_illegal_instruction(int number, siginfo_t *info, void *raw) {
    greg_t *registers = ((ucontext_t *)raw)->uc_mcontext.gregs;
    const uint8_t *next = execute((const uint8_t *)registers[REG_RIP], registers);
    (void)number, (void)info;
    if (!next) fail("an illegal instruction that is none of the tiles'");
    registers[REG_RIP] = (greg_t)next;
}

static void in_child(void) {
    release();
    amx_emulator_configured = 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *wish = getenv("AMX_EMULATOR");
    absent = wish && !strcmp(wish, "absent");
    denied = wish && !strcmp(wish, "denied");
    struct sigaction action = {.sa_sigaction = on_illegal_instruction,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, NULL);
    pthread_atfork(NULL, NULL, in_child);
}
