// The strided 3x3 convolutions of the eightfold subsampling, incrementally for each stream.
//
// Mathematics   out[t][f][c] = bias[c] + sum over i, j < 3 of taps[3 i + j][c] window[2 t + i][2 f - lead + j](c). The first layer has
//               one input channel for all outputs, and ReLU after it; in the others each channel has its own, and nothing after.
//               Layer l = 0, 1, 2. Rows of a stream's window: ROW_HELDl from earlier steps (zeros at a start, where they are the
//               `lead` zero rows before the first), then its new rows; a row beyond reads as zero, so does a column outside.
// Inputs        mel f32 [B][mel_stride][F], ROW_MEL new rows each; x f16 [B][x_stride][Fin][C], ROW_OUT0 (layer 1) or ROW_OUT1
//               (layer 2) new rows each; rows [B][ROW_WORDS]; taps f32 [9][C], time before frequency; bias f32 [C].
// Outputs       out f16 [B][out_stride][Fout][C], ROW_OUT0, ROW_OUT1 or ROW_FRAMES rows each; the rest is not written.
// State         tails [S][2][2][F] f32, [S][2][2][Fin][C] f16. The half that is not read receives the window's rows from 2 * outputs
//               on, one or two.
// Launch        grid (max(1, out_stride), B), 256 threads: a block for each output row; a thread takes a pair of channels, holds
//               its taps and goes through the frequencies. 6.1 KiB static shared memory in the first layer, none in the others.
//               The blocks with x == 0 write the tail, also for a stream without outputs.
// Preconditions C % 8 == 0; F <= 512; lead 1 or 2 with Fout = ceil(F / 2) or F / 2 + 1; at most 2 rows held; taps and bias 8-byte
//               aligned, x and tails 16-byte; B <= 65535; stride * columns * C of a stream below 2^31.
// Cost          an output row at F 80, C 256: the first layer reads 960 bytes and writes 21 kB; the second reads 63 kB, a third of
//               it again with the next row, writes 10.8 kB, and copies a tail of 21 kB in each step. 18 FLOP a value: memory is
//               the limit.
// Accumulation  f32, from the bias on in ascending order of the taps as on the CPU: 9 * 2^-24 of the sum of magnitudes, then one
//               rounding to f16.
// CPU twin      src/ops/subsample/cpu.rs
// Measured      not measured

#include "common.cuh"

#define THREADS 256
#define BINS 512  // largest F

// A stream's window over rows of `width` values.
template <typename T>
struct Rows {
    const T* tail;
    const T* fresh;
    int held, count, width;
    bool zero;  // the held ones read as zero

    // Row `i`, or null if it reads as zero.
    __device__ __forceinline__ const T* at(int i) const {
        if (i < held) return zero ? nullptr : tail + i * width;
        return i - held < count ? fresh + (i - held) * width : nullptr;
    }

    // How many rows the next step needs if `outputs` are computed now.
    __device__ __forceinline__ int left(int outputs) const { return max(0, min(2, held + count - 2 * outputs)); }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    subsample_first(const float* __restrict__ mel, int mel_stride, float* tails, const int* __restrict__ rows,
                    const float* __restrict__ taps, const float* __restrict__ bias, f16* __restrict__ out, int out_stride,
                    int out_columns, int bins, int channels, int lead) {
    __shared__ float three[3][BINS + 4];
    const int stream = blockIdx.y, t = blockIdx.x;
    const int* row = rows + stream * ROW_WORDS;
    const int outputs = row[ROW_OUT0], parity = row[ROW_PARITY];
    float* tail = tails + (i64)row[ROW_SLOT] * 4 * bins;
    const Rows<float> window = {tail + parity * 2 * bins,
                                mel + (i64)stream * mel_stride * bins,
                                row[ROW_HELD0],
                                row[ROW_MEL],
                                bins,
                                row[ROW_START] != 0};

    if (t == 0) {
        float* next = tail + (parity ^ 1) * 2 * bins;
        for (int r = 0; r < window.left(outputs); ++r) {
            const float* from = window.at(2 * outputs + r);
            for (int i = threadIdx.x; i < bins; i += THREADS) next[r * bins + i] = from ? from[i] : 0.f;
        }
    }
    if (t >= outputs) return;

    // The three rows with their zero columns: lead on the low side, what the last output reads on the high side.
    for (int r = 0; r < 3; ++r) {
        const float* from = window.at(2 * t + r);
        for (int i = threadIdx.x; i <= 2 * out_columns; i += THREADS) {
            int column = i - lead;
            three[r][i] = from && column >= 0 && column < bins ? from[column] : 0.f;
        }
    }
    __syncthreads();

    const int pairs = channels / 2, wide = min(pairs, THREADS), groups = THREADS / wide;
    const int group = threadIdx.x / wide;
    if (group >= groups) return;
    u32* result = (u32*)out + ((i64)stream * out_stride + t) * out_columns * pairs;
    for (int pair = threadIdx.x % wide; pair < pairs; pair += wide) {
        float2 tap[9];
#pragma unroll
        for (int k = 0; k < 9; ++k) tap[k] = ((const float2*)taps)[k * pairs + pair];
        const float2 start = ((const float2*)bias)[pair];
        for (int f = group; f < out_columns; f += groups) {
            float2 sum = start;
#pragma unroll
            for (int k = 0; k < 9; ++k) {
                float x = three[k / 3][2 * f + k % 3];
                sum.x = fmaf(x, tap[k].x, sum.x);
                sum.y = fmaf(x, tap[k].y, sum.y);
            }
            result[f * pairs + pair] = pack(fmaxf(sum.x, 0.f), fmaxf(sum.y, 0.f));
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    subsample_depthwise(const f16* __restrict__ x, int x_stride, f16* tails, const int* __restrict__ rows, int layer,
                        const float* __restrict__ taps, const float* __restrict__ bias, f16* __restrict__ out, int out_stride,
                        int out_columns, int in_columns, int channels, int lead) {
    const int stream = blockIdx.y, t = blockIdx.x, width = in_columns * channels;
    const int* row = rows + stream * ROW_WORDS;
    const int outputs = row[layer == 1 ? ROW_OUT1 : ROW_FRAMES], parity = row[ROW_PARITY];
    f16* tail = tails + (i64)row[ROW_SLOT] * 4 * width;
    const Rows<f16> window = {tail + parity * 2 * width,
                              x + (i64)stream * x_stride * width,
                              row[ROW_HELD0 + layer],
                              row[layer == 1 ? ROW_OUT0 : ROW_OUT1],
                              width,
                              row[ROW_START] != 0};

    if (t == 0) {
        f16* next = tail + (parity ^ 1) * 2 * width;
        for (int r = 0; r < window.left(outputs); ++r) {
            const uint4* from = (const uint4*)window.at(2 * outputs + r);
            uint4* to = (uint4*)(next + r * width);
            for (int i = threadIdx.x; i < width / 8; i += THREADS) to[i] = from ? from[i] : make_uint4(0, 0, 0, 0);
        }
    }
    if (t >= outputs) return;

    const int pairs = channels / 2, wide = min(pairs, THREADS), groups = THREADS / wide;
    const int group = threadIdx.x / wide;
    if (group >= groups) return;
    const u32* three[3];
#pragma unroll
    for (int r = 0; r < 3; ++r) three[r] = (const u32*)window.at(2 * t + r);
    u32* result = (u32*)out + ((i64)stream * out_stride + t) * out_columns * pairs;
    for (int pair = threadIdx.x % wide; pair < pairs; pair += wide) {
        float2 tap[9];
#pragma unroll
        for (int k = 0; k < 9; ++k) tap[k] = ((const float2*)taps)[k * pairs + pair];
        const float2 start = ((const float2*)bias)[pair];
        for (int f = group; f < out_columns; f += groups) {
            u32 v[9];
#pragma unroll
            for (int k = 0; k < 9; ++k) {
                int column = 2 * f - lead + k % 3;
                v[k] = three[k / 3] && column >= 0 && column < in_columns ? three[k / 3][column * pairs + pair] : 0;
            }
            float2 sum = start;
#pragma unroll
            for (int k = 0; k < 9; ++k) {
                sum.x = fmaf(low_half(v[k]), tap[k].x, sum.x);
                sum.y = fmaf(high_half(v[k]), tap[k].y, sum.y);
            }
            result[f * pairs + pair] = pack(sum.x, sum.y);
        }
    }
}
