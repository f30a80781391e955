// Layer normalization over the channels of each row.
//
// Mathematics   y = (x - mean) / sqrt(variance + 1e-5) * weight + bias; the variance is the mean square about the mean.
// Inputs        x f32 [M][D], weight and bias f32 [D].
// Outputs       layer_norm: y f16 [M][D]. layer_norm_out: the same values f32 in place of x, and y.
// Launch        grid (ceil(M / 8)), 256 threads: a warp for each row. No shared memory.
// Preconditions D % 8 == 0, D > 0; pointers 16-byte aligned; M * D below 2^31.
// Cost          4 M D bytes read (the second and third pass find the row in the first-level cache while 32 D bytes fit it), 2 M D
//               written (layer_norm_out 6 M D); memory is the limit.
// Accumulation  f32 in two passes; lane l sums channels 4 l .. 4 l + 3 of each 128, then the lanes in a fixed tree. Error about
//               (D / 128 + 8) * 2^-24 of the mean magnitude, then one rounding to f16.
// CPU twin      src/ops/layer_norm/cpu.rs
// Measured      not measured

#include "common.cuh"

#define ROWS 8

// `x` and `keep` may be the same rows, hence no __restrict__.
__device__ __forceinline__ void normalize(const float* x, float* keep, const float* __restrict__ weight, const float* __restrict__ bias,
                                          f16* __restrict__ y, int M, int D) {
    const int row = blockIdx.x * ROWS + threadIdx.x / WARP, first = threadIdx.x % WARP * 4;
    if (row >= M) return;
    x += row * D;
    y += row * D;
    float sum = 0.f;
    for (int c = first; c < D; c += 4 * WARP) {
        const float4 v = *(const float4*)(x + c);
        sum += (v.x + v.y) + (v.z + v.w);
    }
    const float mean = warp_sum(sum) / (float)D;
    float squares = 0.f;
    for (int c = first; c < D; c += 4 * WARP) {
        const float4 v = *(const float4*)(x + c);
        const float a = v.x - mean, b = v.y - mean, d = v.z - mean, e = v.w - mean;
        squares += (a * a + b * b) + (d * d + e * e);
    }
    const float factor = rsqrtf(warp_sum(squares) / (float)D + 1e-5f);
    for (int c = first; c < D; c += 4 * WARP) {
        const float4 v = *(const float4*)(x + c), w = *(const float4*)(weight + c), b = *(const float4*)(bias + c);
        const float4 r = make_float4(fmaf((v.x - mean) * factor, w.x, b.x), fmaf((v.y - mean) * factor, w.y, b.y),
                                     fmaf((v.z - mean) * factor, w.z, b.z), fmaf((v.w - mean) * factor, w.w, b.w));
        if (keep) *(float4*)(keep + row * D + c) = r;
        *(uint2*)(y + c) = make_uint2(pack(r.x, r.y), pack(r.z, r.w));
    }
}

extern "C" __global__ void __launch_bounds__(ROWS* WARP) layer_norm(const float* __restrict__ x, const float* __restrict__ weight,
                                                                    const float* __restrict__ bias, f16* __restrict__ y, int M, int D) {
    normalize(x, nullptr, weight, bias, y, M, D);
}

extern "C" __global__ void __launch_bounds__(ROWS* WARP) layer_norm_out(float* x, const float* __restrict__ weight,
                                                                        const float* __restrict__ bias, f16* __restrict__ y, int M, int D) {
    normalize(x, x, weight, bias, y, M, D);
}
