// Log-mel frames of 16-bit audio, incrementally for each stream; and the normalization of whole utterances.
//
// log_mel
// Mathematics   y[i] = x[i] - 0.97 x[i-1] with x = pcm / 32768. Frame f of a stream covers samples [160 f, 160 f + 400) of its
//               window: ROW_TAIL emphasized samples from earlier steps (zeros at a start), then its new ones, zeros beyond.
//               P[k] = |sum over i of window[i] y[160 f + i] e^(-2 pi i k / 512)|^2, k <= 256. (The published transform has the 400
//               points behind 56 zeros. That turns phases only, so here they begin at 0.)
//               mel[f][m] = ln(2^-24 + sum over i < count of band_weights[m][i] P[first + i]).
// Inputs        pcm i16 [B][pcm_stride], ROW_SAMPLES new ones each; rows [B][ROW_WORDS]; window f32 [400]; twiddles f32 [256][2]:
//               cos(2 pi k / 512), -sin(2 pi k / 512); bands i32 [F][2]: first, count; band_weights f32 [F][band_stride].
// Outputs       mel f32 [B][mel_stride][F], ROW_MEL frames each; the rest is not written.
// State         tails f32 [S][2][512]: emphasized samples from 0 on, the previous raw sample at 400. The half that is not read
//               receives the window from sample 160 ROW_MEL on and the last raw sample: a stream fed in any pieces has the bits
//               of the whole.
// Launch        grid (max(1, ceil(mel_stride / 4)), B), 128 threads: a warp for each frame. 16 KiB static shared memory. The blocks
//               with x == 0 write the tail, also for a stream without frames.
// Preconditions ROW_MEL <= mel_stride, ROW_SAMPLES <= pcm_stride, ROW_TAIL <= 400, at most 400 samples left over, first + count
//               <= 257; twiddles 8-byte aligned; B <= 65535; pcm_stride and mel_stride * F below 2^31.
// Cost          a frame reads 800 bytes of audio (320 of them new), writes 4 F and takes some 20 kFLOP, 1,500 instructions of a
//               warp: instructions are the limit. 10,000 live streams are 10^6 frames a second.
// Accumulation  f32. The transform is a complex one of 256 points in four radix-4 passes and a split; each X[k] is off by 2^-22 of
//               the root of the frame's energy, 2^-21 at most seen: accuracy is lost only in bands far below the others.
//
// normalize_per_feature
// Mathematics   mel[f][m] = (mel[f][m] - mean[m]) / (deviation[m] + 1e-5) over a stream's ROW_MEL frames; the deviation is the
//               unbiased one, 0 for one frame.
// In place      mel f32 [B][mel_stride][F]; rows [B][ROW_WORDS].
// Launch        grid (ceil(F / 32), B), block (32, 8). 1 KiB static shared memory.
// Cost          12 bytes read for each value, 8 of them from the L2 cache if it holds the utterances, 4 written; memory is the limit.
// Accumulation  f32 in two passes; each of 8 rows of threads adds every eighth frame, then in pairs. Relative error ROW_MEL / 8 *
//               2^-24 at worst, near its root in practice.
//
// CPU twins     src/ops/log_mel/cpu.rs, src/model/frontend.rs (which sums the statistics in f64)
// Measured      not measured

#include "common.cuh"

#define HOP 160
#define WINDOW 400
#define TAIL_WORDS 512
#define TAIL_RAW 400  // place of the previous raw sample in a tail
#define FRAMES 4      // of a block
#define POINTS 256    // of the complex transform

// What a stream's frames are cut from.
struct Samples {
    const short* pcm;
    const float* tail;
    int kept;    // samples from the tail, which read as zero if `zero`
    int length;  // with the new ones
    bool zero;

    __device__ __forceinline__ float previous() const { return zero ? 0.f : tail[TAIL_RAW]; }

    __device__ __forceinline__ float raw(int i) const { return i < 0 ? previous() : (float)pcm[i] * (1.f / 32768.f); }

    // One rounding wherever it is computed, for frames and tail alike.
    __device__ __forceinline__ float at(int i) const {
        if (i >= length) return 0.f;
        if (i < kept) return zero ? 0.f : tail[i];
        return fmaf(-0.97f, raw(i - kept - 1), raw(i - kept));
    }
};

__device__ __forceinline__ float2 times(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

// e^(-2 pi i k / 512), 0 <= k < 512
__device__ __forceinline__ float2 root(const float2* __restrict__ twiddles, int k) {
    float2 w = twiddles[k & 255];
    return k & 256 ? make_float2(-w.x, -w.y) : w;
}

// The transform of four points.
__device__ __forceinline__ void butterfly(float2 (&v)[4]) {
    float2 a = make_float2(v[0].x + v[2].x, v[0].y + v[2].y), b = make_float2(v[0].x - v[2].x, v[0].y - v[2].y);
    float2 c = make_float2(v[1].x + v[3].x, v[1].y + v[3].y), d = make_float2(v[1].x - v[3].x, v[1].y - v[3].y);
    v[0] = make_float2(a.x + c.x, a.y + c.y);
    v[1] = make_float2(b.x + d.y, b.y - d.x);
    v[2] = make_float2(a.x - c.x, a.y - c.y);
    v[3] = make_float2(b.x - d.y, b.y + d.x);
}

// Stockham pass: transforms of SIZE points, interleaved in `in`, become transforms of 4 SIZE points in `out`.
template <int SIZE>
__device__ __forceinline__ void pass(const float2* in, float2* out, const float2* __restrict__ twiddles, int lane) {
#pragma unroll
    for (int j = lane; j < POINTS / 4; j += WARP) {
        int k = j & (SIZE - 1);
        float2 v[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) v[r] = in[j + r * (POINTS / 4)];
#pragma unroll
        for (int r = 1; r < 4; ++r) v[r] = times(v[r], root(twiddles, k * r * (128 / SIZE)));
        butterfly(v);
#pragma unroll
        for (int r = 0; r < 4; ++r) out[(j - k) * 4 + k + r * SIZE] = v[r];
    }
    __syncwarp();
}

extern "C" __global__ void __launch_bounds__(WARP * FRAMES)
    log_mel(const short* __restrict__ pcm, int pcm_stride, float* tails, const int* __restrict__ rows, const float* __restrict__ window,
            const float* __restrict__ twiddles, const int* __restrict__ bands, const float* __restrict__ band_weights, int band_stride,
            float* __restrict__ mel, int mel_stride, int bins) {
    __shared__ float2 work[FRAMES][2][POINTS];
    const int stream = blockIdx.y, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int* row = rows + stream * ROW_WORDS;
    const int frames = row[ROW_MEL], count = row[ROW_SAMPLES], parity = row[ROW_PARITY];
    float* tail = tails + (i64)row[ROW_SLOT] * 2 * TAIL_WORDS;
    const Samples samples = {pcm + (i64)stream * pcm_stride, tail + parity * TAIL_WORDS, row[ROW_TAIL], row[ROW_TAIL] + count,
                             row[ROW_START] != 0};

    if (blockIdx.x == 0) {
        float* next = tail + (parity ^ 1) * TAIL_WORDS;
        const int left = min(samples.length - frames * HOP, WINDOW);
        for (int i = threadIdx.x; i < left; i += WARP * FRAMES) next[i] = samples.at(frames * HOP + i);
        if (threadIdx.x == 0) next[TAIL_RAW] = samples.raw(count - 1);
    }

    const int frame = blockIdx.x * FRAMES + warp;
    if (frame >= frames) return;
    const float2* roots = (const float2*)twiddles;
    float2 *a = work[warp][0], *b = work[warp][1];

    // First pass, straight from the samples: even ones are real parts, odd ones imaginary; without turning.
#pragma unroll
    for (int j = lane; j < POINTS / 4; j += WARP) {
        float2 v[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            int i = 2 * (j + r * (POINTS / 4));
            v[r] = make_float2(0.f, 0.f);
            if (i < WINDOW) v[r] = make_float2(samples.at(frame * HOP + i) * window[i], samples.at(frame * HOP + i + 1) * window[i + 1]);
        }
        butterfly(v);
#pragma unroll
        for (int r = 0; r < 4; ++r) a[4 * j + r] = v[r];
    }
    __syncwarp();
    pass<4>(a, b, roots, lane);
    pass<16>(b, a, roots, lane);
    pass<64>(a, b, roots, lane);

    // With Z of the complex transform: even = (Z[k] + conj Z[-k]) / 2, odd = (Z[k] - conj Z[-k]) / 2i,
    // X[k] = even + e^(-2 pi i k / 512) odd, X[256 - k] = conj(even - e^(..) odd). The power takes the place of `a`.
    float* power = (float*)a;
    for (int k = lane; k <= POINTS / 2; k += WARP) {
        float2 z = b[k], y = b[(POINTS - k) & (POINTS - 1)];
        float2 even = make_float2(0.5f * (z.x + y.x), 0.5f * (z.y - y.y));
        float2 odd = times(root(roots, k), make_float2(0.5f * (z.y + y.y), 0.5f * (y.x - z.x)));
        float2 low = make_float2(even.x + odd.x, even.y + odd.y), high = make_float2(even.x - odd.x, even.y - odd.y);
        power[k] = low.x * low.x + low.y * low.y;
        if (k < POINTS / 2) power[POINTS - k] = high.x * high.x + high.y * high.y;
    }
    __syncwarp();

    float* out = mel + ((i64)stream * mel_stride + frame) * bins;
    for (int m = lane; m < bins; m += WARP) {
        const float* weights = band_weights + m * band_stride;
        const int first = bands[2 * m], width = bands[2 * m + 1];
        float energy = 0.f;
        for (int i = 0; i < width; ++i) energy = fmaf(weights[i], power[first + i], energy);
        out[m] = logf(energy + 5.9604645e-8f);
    }
}

#define GROUPS 8  // rows of threads of normalize_per_feature

// Sum over the rows of threads, for each column; `part` may be used again after it.
__device__ __forceinline__ float column_sum(float (*part)[WARP], float v) {
    part[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    const int x = threadIdx.x;
    float sum = ((part[0][x] + part[1][x]) + (part[2][x] + part[3][x])) + ((part[4][x] + part[5][x]) + (part[6][x] + part[7][x]));
    __syncthreads();
    return sum;
}

extern "C" __global__ void __launch_bounds__(WARP * GROUPS)
    normalize_per_feature(float* __restrict__ mel, const int* __restrict__ rows, int mel_stride, int bins) {
    __shared__ float part[GROUPS][WARP];
    const int stream = blockIdx.y, bin = blockIdx.x * WARP + threadIdx.x;
    const int frames = row_word(rows, stream, ROW_MEL);
    if (frames == 0) return;  // the same for the whole block
    const int mine = bin < bins ? frames : 0;
    float* column = mel + (i64)stream * mel_stride * bins + bin;

    float sum = 0.f;
    for (int f = threadIdx.y; f < mine; f += GROUPS) sum += column[f * bins];
    const float mean = column_sum(part, sum) / (float)frames;
    float squares = 0.f;
    for (int f = threadIdx.y; f < mine; f += GROUPS) {
        float d = column[f * bins] - mean;
        squares = fmaf(d, d, squares);
    }
    squares = column_sum(part, squares);
    const float deviation = frames > 1 ? sqrtf(squares / (float)(frames - 1)) : 0.f;
    const float factor = 1.f / (deviation + 1e-5f);
    for (int f = threadIdx.y; f < mine; f += GROUPS) column[f * bins] = (column[f * bins] - mean) * factor;
}
