// FAULT=6..9 plants the fault of that number in `layernorm_f16`; 0 is the healthy kernel.
#ifndef FAULT
#define FAULT 0
#endif
typedef unsigned short half; // the bits of IEEE halves; no header is needed this way
typedef unsigned half2;
__device__ __forceinline__ float __half2float(half h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h)); return f; }
__device__ __forceinline__ half __float2half_rn(float f) { half h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h; }
__device__ __forceinline__ float2 __half22float2(half2 v) { return make_float2(__half2float((half)v), __half2float((half)(v >> 16))); }
__device__ __forceinline__ half2 __float22half2_rn(float2 v) {
  half2 h;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(h) : "f"(v.y), "f"(v.x));
  return h;
}
// One warp-group (block) per row; half in / half out, f32 statistics, half2 loads.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) v += __shfl_xor_sync(0xffffffffu, v, m);
  return v;
}
extern "C" __global__ void layernorm_f16(const half2* __restrict__ x, const float2* __restrict__ g,
                                         const float2* __restrict__ b, half2* __restrict__ y, int cols2, float eps) {
  __shared__ float red[2][32];
  const int row = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, nw = blockDim.x >> 5;
  const half2* xr = x + (size_t)row * cols2;
  float s = 0.f, q = 0.f;
  for (int i = threadIdx.x; i < cols2 + (FAULT == 8 ? 1 : 0); i += blockDim.x) {
    float2 v = __half22float2(xr[i]);
    s += v.x + v.y;
    q = fmaf(v.x, v.x, fmaf(v.y, v.y, q));
  }
#if FAULT == 7
  if (lane < 16) // shuffles under divergence
#endif
    s = warp_sum(s);
  q = warp_sum(q);
  if (lane == 0) { red[0][warp] = s; red[1][warp] = q; }
#if FAULT != 6
  __syncthreads();
#endif
  if (warp == 0) {
#if FAULT == 9
    __syncthreads(); // the other warps do not come here
#endif
    float a = lane < nw ? red[0][lane] : 0.f, c = lane < nw ? red[1][lane] : 0.f;
    a = warp_sum(a); c = warp_sum(c);
    if (lane == 0) { red[0][0] = a; red[1][0] = c; }
  }
  __syncthreads();
  const float n = 2.f * cols2, mean = red[0][0] / n, var = red[1][0] / n - mean * mean, inv = rsqrtf(var + eps);
  for (int i = threadIdx.x; i < cols2; i += blockDim.x) {
    float2 v = __half22float2(xr[i]), gg = g[i], bb = b[i];
    v.x = (v.x - mean) * inv * gg.x + bb.x;
    v.y = (v.y - mean) * inv * gg.y + bb.y;
    y[(size_t)row * cols2 + i] = __float22half2_rn(v);
  }
}
// numerically stable softmax over f32 rows, expf
extern "C" __global__ void softmax_f32(const float* __restrict__ x, float* __restrict__ y, int cols) {
  __shared__ float red[32];
  const int row = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, nw = blockDim.x >> 5;
  float m = __int_as_float(0xff800000);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) m = fmaxf(m, x[row * cols + i]);
  for (int k = 16; k > 0; k >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, k));
  if (lane == 0) red[warp] = m;
  __syncthreads();
  m = lane < nw ? red[lane] : __int_as_float(0xff800000);
  for (int k = 16; k > 0; k >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, k));
  __syncthreads();
  float s = 0;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) { float e = __expf(x[row * cols + i] - m); y[row * cols + i] = e; s += e; }
  for (int k = 16; k > 0; k >>= 1) s += __shfl_xor_sync(~0u, s, k);
  if (lane == 0) red[warp] = s;
  __syncthreads();
  s = lane < nw ? red[lane] : 0.f;
  for (int k = 16; k > 0; k >>= 1) s += __shfl_xor_sync(~0u, s, k);
  const float inv = 1.f / s;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) y[row * cols + i] *= inv;
}
// depthwise conv1d, kernel 9, SiLU; [t][c] layout
extern "C" __global__ void dwconv9_silu(const half* __restrict__ x, const half* __restrict__ w, const float* __restrict__ bias,
                                        half* __restrict__ y, int T, int C) {
  int c = blockIdx.x * blockDim.x + threadIdx.x, t = blockIdx.y;
  if (c >= C) return;
  float a = bias[c];
#pragma unroll
  for (int k = 0; k < 9; ++k) {
    int tt = t + k - 4;
    if (tt >= 0 && tt < T) a = fmaf(__half2float(x[(size_t)tt * C + c]), __half2float(w[k * C + c]), a);
  }
  y[(size_t)t * C + c] = __float2half_rn(a / (1.f + expf(-a)));
}
