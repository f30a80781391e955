// Kernels for the tests of the fake driver; no headers.
__constant__ float factors[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int launches = 5;
extern __shared__ float staged[];

extern "C" __global__ void scale(float* x, int n, float by) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= by;
}
extern "C" __global__ void scale_by_table(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factors[i & 3];
  if (i == 0) launches += 1;
}
// reverses each block's part through dynamic shared memory
extern "C" __global__ void reverse(float* x) {
  float* part = x + blockIdx.x * blockDim.x;
  staged[threadIdx.x] = part[threadIdx.x];
  __syncthreads();
  part[threadIdx.x] = staged[blockDim.x - 1 - threadIdx.x];
}
struct Job { float* out; const float* in; int n; short add; };
extern "C" __global__ void with_struct(Job job, unsigned char flag, double more) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < job.n) job.out[i] = job.in[i] + job.add + flag + (float)more;
}
extern "C" __global__ void past_the_end(float* x, int n) { x[n + threadIdx.x] = 1.f; }
