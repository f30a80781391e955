// The math library as NVRTC compiles it, and the odds and ends that kernels use.
#define EACH(name, expression) \
  extern "C" __global__ void name(const float* in, float* out, int n) { \
    int i = blockIdx.x * blockDim.x + threadIdx.x; \
    if (i < n) { float x = in[i]; out[i] = (expression); } \
  }
EACH(k_sin, sinf(x))
EACH(k_cos, cosf(x))
EACH(k_tan, tanf(x))
EACH(k_tanh, tanhf(x))
EACH(k_exp, expf(x))
EACH(k_fast_exp, __expf(x))
EACH(k_log, logf(fabsf(x) + 1e-3f))
EACH(k_log1p, log1pf(fabsf(x)))
EACH(k_pow, powf(fabsf(x), 2.3f))
EACH(k_erf, erff(x))
EACH(k_fmod, fmodf(x, 0.7f))
EACH(k_round, roundf(x))
EACH(k_rsqrt, rsqrtf(fabsf(x) + 1.f))
EACH(k_div, 3.f / x)
EACH(k_sqrt, sqrtf(fabsf(x)))
EACH(k_gelu, 0.5f * x * (1.f + erff(x * 0.70710678f)))
EACH(k_sigmoid, 1.f / (1.f + expf(-x)))
EACH(k_double, (float)(exp((double)x) * 1e-3))
EACH(k_local, ([&] { float a[8]; for (int k = 0; k < 8; ++k) a[k] = x * k; int at = ((int)fabsf(x)) & 7; a[at] = 1.f; float s = 0; for (int k = 0; k < 8; ++k) s += a[(k + at) & 7]; return s; }()))

// module-level data, switches, 64-bit division, bytes and shorts
__constant__ float factors[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int counter = 3;
__device__ const unsigned char squares[8] = {0, 1, 4, 9, 16, 25, 36, 49};
extern "C" __global__ void odds(int* out, const signed char* bytes, short* shorts, long long q) {
  int t = threadIdx.x;
  int v = 0;
  switch (t % 7) {
    case 0: v = squares[t & 7]; break;
    case 1: v = (int)factors[t & 3]; break;
    case 2: v = (int)(q / (t + 1)); break;
    case 3: v = (int)(q % (t + 1)); break;
    case 4: v = bytes[t] * 3; break;
    case 5: shorts[t] = (short)(shorts[t] * 5); v = shorts[t]; break;
    default: v = -1;
  }
  out[t] = v;
  atomicAdd(&counter, 1);
}
extern "C" __global__ void read_counter(int* out) { *out = counter; }

// sums with atomics over blocks, counts over a block
extern "C" __global__ void histogram(const unsigned char* data, int n, unsigned* bins, float* total, unsigned long long* longs) {
  __shared__ unsigned part[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) part[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    atomicAdd(&part[data[i]], 1u);
    atomicAdd(total, 0.5f);
    atomicMax(longs, (unsigned long long)i);
  }
  int odd = __syncthreads_count(threadIdx.x & 1);
  for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&bins[i], part[i]);
  if (threadIdx.x == 0) atomicAdd(longs + 1, (unsigned long long)odd);
}

// producer and consumer warps with named barriers
extern "C" __global__ void handover(int* out, int rounds) {
  __shared__ int box[32];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, sum = 0;
  for (int r = 0; r < rounds; ++r) {
    if (warp == 0) {
      asm volatile("bar.sync 2, 64;" ::: "memory");
      box[lane] = r * 100 + lane;
      asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else {
      asm volatile("bar.arrive 2, 64;" ::: "memory");
      asm volatile("bar.sync 1, 64;" ::: "memory");
      sum += box[31 - lane];
    }
  }
  if (warp == 1) out[lane] = sum;
}
// the same with one barrier too few
extern "C" __global__ void handover_too_soon(int* out, int rounds) {
  __shared__ int box[32];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, sum = 0;
  for (int r = 0; r < rounds; ++r) {
    if (warp == 0) {
      box[lane] = r * 100 + lane;
      asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else {
      asm volatile("bar.sync 1, 64;" ::: "memory");
      sum += box[31 - lane];
    }
  }
  if (warp == 1) out[lane] = sum;
}
__device__ __noinline__ float helper(float x) { return x * 2 + 1; }
#ifdef CALLS
extern "C" __global__ void calls(float* x) { x[threadIdx.x] = helper(x[threadIdx.x]); }
#endif
