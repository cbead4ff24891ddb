/* Single tile instructions for tests of the emulator, each called from Python. */
#include <sys/syscall.h>
#include <unistd.h>

long permit(void) { return syscall(SYS_arch_prctl, 0x1023, 18); }

/* c += a x b with rows of `row` bytes, in addressing modes of all kinds. */
void product(const char *config, const char *a, const char *b, char *c, long row) {
    __asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
    __asm__ volatile("tileloadd -256(%0,%1,1), %%tmm3" : : "r"(c + 256), "r"(row) : "memory");
    register const char *from __asm__("r13") = a - 8;
    register long half __asm__("r12") = row / 2;
    __asm__ volatile("tileloaddt1 8(%0,%1,2), %%tmm5" : : "r"(from), "r"(half) : "memory");
    __asm__ volatile("tileloadd (%0,%1), %%tmm7" : : "r"(b), "r"(row) : "memory");
    __asm__ volatile("tdpbf16ps %%tmm7, %%tmm5, %%tmm3" : :);
    __asm__ volatile("tilestored %%tmm3, (%0,%1)" : : "r"(c), "r"(row) : "memory");
    __asm__ volatile("tilerelease" : : : "memory");
}

/* The configuration read back before and after its release; a zeroed tile at `tile`. */
void configuration(const char *config, char *before, char *after, char *tile) {
    __asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
    __asm__ volatile("sttilecfg 4(%0)" : : "r"(before - 4) : "memory");
    __asm__ volatile("tileloadd (%0,%1), %%tmm7" : : "r"(tile), "r"(64l) : "memory");
    __asm__ volatile("tilezero %%tmm7" : :);
    __asm__ volatile("tilestored %%tmm7, (%0,%1)" : : "r"(tile), "r"(64l) : "memory");
    __asm__ volatile("tilerelease" : : : "memory");
    __asm__ volatile("sttilecfg (%0)" : : "r"(after) : "memory");
}

void configure(const char *config) {
    __asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
}
void zero_the_last(void) { __asm__ volatile("tilezero %%tmm7" : :); }
/* tdpbf16ps tmm0, tmm1, tmm1, which assemblers refuse. */
void multiply_by_itself(void) { __asm__ volatile(".byte 0xc4, 0xe2, 0x72, 0x5c, 0xc1" : :); }
void multiply(void) { __asm__ volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" : :); }
void multiply_bytes(void) { __asm__ volatile("tdpbssd %%tmm2, %%tmm1, %%tmm0" : :); }
void illegal(void) { __asm__ volatile("ud2"); }
