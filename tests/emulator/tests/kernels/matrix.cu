// Fragments loaded and stored one element at a time, by the layouts of the PTX manual, around one `mma` each.
typedef unsigned short u16;
__device__ unsigned pair(const u16* p, int step) { return p[0] | (unsigned)p[step] << 16; }

// C[16][8] = A[16][DEPTH] * B[DEPTH][8] + C
template <int DEPTH> __device__ void fragments(const u16* a, const u16* b, unsigned (&fa)[4], unsigned (&fb)[2]) {
  int lane = threadIdx.x, group = lane >> 2, t = lane & 3;
  for (int r = 0; r < DEPTH / 4; ++r) fa[r] = pair(a + (group + (r & 1) * 8) * DEPTH + t * 2 + (r >> 1) * 8, 1);
  for (int r = 0; r < DEPTH / 8; ++r) fb[r] = pair(b + (t * 2 + r * 8) * 8 + group, 8);
}
#define PLACES(r) ((lane >> 2) + ((r) >> 1) * 8) * 8 + (lane & 3) * 2 + ((r) & 1)
#define SINGLE(name, DEPTH, INSTRUCTION, OPERANDS_A, OPERANDS_B, ...) \
  extern "C" __global__ void name(const u16* a, const u16* b, float* c) { \
    unsigned fa[4], fb[2]; float s[4]; int lane = threadIdx.x; \
    fragments<DEPTH>(a, b, fa, fb); \
    for (int r = 0; r < 4; ++r) s[r] = c[PLACES(r)]; \
    asm volatile(INSTRUCTION " {%0,%1,%2,%3}, " OPERANDS_A ", " OPERANDS_B ", {%0,%1,%2,%3};" \
                 : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3]) : __VA_ARGS__); \
    for (int r = 0; r < 4; ++r) c[PLACES(r)] = s[r]; \
  }
#define DEEP "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1])
SINGLE(f16_16, 16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "{%4,%5,%6,%7}", "{%8,%9}", DEEP)
SINGLE(bf16_16, 16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "{%4,%5,%6,%7}", "{%8,%9}", DEEP)
SINGLE(f16_8, 8, "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "{%4,%5}", "{%6}", "r"(fa[0]), "r"(fa[1]), "r"(fb[0]))
SINGLE(bf16_8, 8, "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", "{%4,%5}", "{%6}", "r"(fa[0]), "r"(fa[1]), "r"(fb[0]))

extern "C" __global__ void f16_16_half(const u16* a, const u16* b, u16* c) {
  unsigned fa[4], fb[2], s[2];
  int lane = threadIdx.x, group = lane >> 2, t = lane & 3;
  fragments<16>(a, b, fa, fb);
  for (int r = 0; r < 2; ++r) s[r] = pair(c + (group + r * 8) * 8 + t * 2, 1);
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"
               : "+r"(s[0]), "+r"(s[1]) : DEEP);
  for (int r = 0; r < 2; ++r) {
    c[(group + r * 8) * 8 + t * 2] = (u16)s[r];
    c[(group + r * 8) * 8 + t * 2 + 1] = (u16)(s[r] >> 16);
  }
}

// four 8x8 tiles to each lane's words, plain and transposed; staged by cp.async of 4, 8 or 16 bytes, of which `given` are read
template <int BYTES> __device__ void stage(const u16* in, unsigned to, int given) {
  for (int at = threadIdx.x * BYTES; at < 512; at += 32 * BYTES)
    asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], %2, %3;" ::"r"(to + at), "l"((const char*)in + at), "n"(BYTES), "r"(given));
}
extern "C" __global__ void tiles(const u16* in, unsigned* plain, unsigned* turned, int bytes, int given) {
  __shared__ __align__(16) u16 tile[4][8][8];
  unsigned to = (unsigned)__cvta_generic_to_shared(tile), lane = threadIdx.x, r[4];
  if (bytes == 4) stage<4>(in, to, given); else if (bytes == 8) stage<8>(in, to, given); else stage<16>(in, to, given);
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncwarp();
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(to + lane * 16) : "memory");
  for (int i = 0; i < 4; ++i) plain[i * 32 + lane] = r[i];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(to + lane * 16) : "memory");
  for (int i = 0; i < 4; ++i) turned[i * 32 + lane] = r[i];
}
