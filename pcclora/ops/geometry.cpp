// Farthest point sampling and k nearest neighbours on a CPU: one file, no dependency, called through ctypes.
//
// Qi et al., "PointNet++", NeurIPS 2017 (farthest point sampling). Everything here must agree bit for bit with the
// torch code in fps.py and knn.py, whatever the vector width and the thread count: the squared distance is
// (dx*dx + dy*dy) + dz*dz in the type of the input, never fused (-ffp-contract=off), ties go to the lowest index.
//
// No intrinsics: loops that a compiler vectorises, compiled once a vector width, and the width chosen at run time.
// Threads are started for a call and joined in it, so that no pool can be lost in a fork.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#ifdef __GNUC__  // clang too
#define INLINE inline __attribute__((always_inline))
#define API extern "C" __attribute__((visibility("default")))
#define FIRST_BIT(bits) __builtin_ctzll(bits)
#else
#include <intrin.h>
#define INLINE inline
#define API extern "C" __declspec(dllexport)
#define FIRST_BIT(bits) _tzcnt_u64(bits)
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define X86_WIDTHS 1
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "collect() reads eight flags as one little-endian word"
#endif

namespace {

using Index = std::int64_t;
enum Status { OK = 0, NOT_FINITE = 1, NO_MEMORY = 2 };

constexpr Index BLOCK = 256;        // points whose largest distance is kept, so that only one block is searched
constexpr Index LANES = 16;         // floats in the widest vector
constexpr std::size_t LINE = 64;    // bytes of a cache line
constexpr Index WORD = 64;          // points whose flags fill a word
constexpr Index RANK_LIMIT = 256;   // up to here counting ranks, without a branch, beats std::nth_element
constexpr Index PARALLEL = 1 << 18; // distances below which a thread costs more than it saves

template <class T> struct Lane;  // an integer as wide as T: masks and indices then vectorise like the distances
template <> struct Lane<float> { using Int = std::int32_t; static constexpr Int EXPONENT = 0x7f800000; };
template <> struct Lane<double> { using Int = std::int64_t; static constexpr Int EXPONENT = 0x7ff0000000000000; };

INLINE Index round_up(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }

// Numbers that begin with a cache line, so that no vector lies across two.
template <class T> class Row {
  std::vector<T> store;
  T* first = nullptr;

 public:
  void resize(Index n) {
    store.resize(std::size_t(n) + LINE / sizeof(T));
    first = store.data() + (LINE - reinterpret_cast<std::uintptr_t>(store.data()) % LINE) / sizeof(T);
  }
  T* data() const { return first; }
  T& operator[](Index i) const { return first[i]; }
};

// What one thread writes to; sized before the threads start, so that none of them allocates.
template <class T> struct Scratch {
  Row<T> x, y, z, row, smallest, value;
  Row<typename Lane<T>::Int> rank, order, candidate;
};

// The bits of a number as an integer. Those of numbers >= 0 sort as the numbers do, and -1 sorts below them; unlike
// the numbers, a compiler may take their largest in any order without leave to break the rules of arithmetic.
template <class T> INLINE typename Lane<T>::Int bits_of(T value) {
  typename Lane<T>::Int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

template <class T> INLINE bool finite(const T* __restrict values, Index n) {
  typename Lane<T>::Int bad = 0;
  for (Index i = 0; i < n; ++i) bad |= (bits_of(values[i]) & Lane<T>::EXPONENT) == Lane<T>::EXPONENT;
  return !bad;
}

// (N, 3) -> the three rows x, y, z. Returns false where a coordinate is not finite.
template <class T> INLINE bool transpose(const T* __restrict points, Index n, Scratch<T>& s) {
  T *__restrict x = s.x.data(), *__restrict y = s.y.data(), *__restrict z = s.z.data();
  for (Index i = 0; i < n; ++i) x[i] = points[3 * i], y[i] = points[3 * i + 1], z[i] = points[3 * i + 2];
  return finite(points, 3 * n);
}

template <class T> INLINE T squared(T dx, T dy, T dz) { return (dx * dx + dy * dy) + dz * dz; }

// ------------------------------------------------------------------------------------------ farthest point sampling

template <class T>
INLINE int fps_cloud(const T* points, Index n, Index k, Index start, bool skip, Scratch<T>& s, Index* __restrict out) {
  using Int = typename Lane<T>::Int;
  if (!transpose(points, n, s)) return NOT_FINITE;
  const Index padded = round_up(n, BLOCK);
  const T *__restrict x = s.x.data(), *__restrict y = s.y.data(), *__restrict z = s.z.data();
  T* __restrict dist = s.row.data();
  for (Index i = 0; i < padded; ++i) {
    const bool never = i >= n || (skip && double(squared(x[i], y[i], z[i])) <= 1e-3);
    dist[i] = never ? T(-1) : std::numeric_limits<T>::max();
  }
  Index last = start;
  for (Index j = 0; j < k; ++j) {
    out[j] = last;
    const T px = x[last], py = y[last], pz = z[last];
    Int best = std::numeric_limits<Int>::min();
    Index winner = 0;
    for (Index base = 0; base < padded; base += BLOCK) {
      Int top = std::numeric_limits<Int>::min();
#pragma omp simd reduction(max : top)
      for (Index i = base; i < base + BLOCK; ++i) {
        const T d = squared(x[i] - px, y[i] - py, z[i] - pz);
        const T nearest = d < dist[i] ? d : dist[i];
        dist[i] = nearest;
        top = std::max(top, bits_of(nearest));
      }
      if (top > best) best = top, winner = base;
    }
    const T* __restrict block = dist + winner;
    Int first = Int(BLOCK - 1);
#pragma omp simd reduction(min : first)
    for (Int i = 0; i < Int(BLOCK); ++i) first = std::min(first, bits_of(block[i]) == best ? i : Int(BLOCK - 1));
    last = std::min(winner + Index(first), n - 1);
  }
  return OK;
}

// ----------------------------------------------------------------------------------------------- nearest neighbours

// rank[j] = how many of value[0, n) are smaller than value[j], for all j of [0, padded): no branch, no sort.
template <class T, class Int>
INLINE void count_smaller(const T* __restrict value, Index n, Index padded, Int* __restrict rank) {
#pragma omp simd
  for (Index j = 0; j < padded; ++j) {
    const T v = value[j];
    Int count = 0;
    for (Index i = 0; i < n; ++i) count += value[i] < v;
    rank[j] = count;
  }
}

// The k-th smallest of `value[0, n)`, all >= 0; may change their order.
template <class T, class Int> INLINE T kth_smallest(T* __restrict value, Index n, Index k, Int* __restrict rank) {
  if (k == 1) return *std::min_element(value, value + n);
  if (n > RANK_LIMIT) {
    std::nth_element(value, value + k - 1, value + n);
    return value[k - 1];
  }
  count_smaller(value, n, n, rank);
  Int largest = 0;
#pragma omp simd reduction(max : largest)
  for (Index j = 0; j < n; ++j) largest = std::max(largest, rank[j] < k ? bits_of(value[j]) : Int(0));
  T kth;
  std::memcpy(&kth, &largest, sizeof kth);
  return kth;
}

// order[0, k) = the places of the k smallest of value[0, m), equal ones in their given order.
template <class T, class Int>
INLINE void order_smallest(T* __restrict value, Index m, Index k, Int* __restrict rank, Int* __restrict order) {
  if (m > RANK_LIMIT) {
    for (Index j = 0; j < m; ++j) order[j] = Int(j);
    std::partial_sort(order, order + k, order + m,
                      [=](Int a, Int b) { return value[a] < value[b] || (value[a] == value[b] && a < b); });
    return;
  }
  const Index padded = round_up(m, LANES);
  for (Index j = m; j < padded; ++j) value[j] = std::numeric_limits<T>::infinity();
  count_smaller(value, m, padded, rank);
  Int equal[RANK_LIMIT];  // how many of this rank came before
  for (Index j = 0; j < m; ++j) equal[j] = 0;
  for (Index j = 0; j < m; ++j) order[rank[j] + equal[rank[j]]++] = Int(j);
}

// Distances of one query to the cloud, and the smallest of each class of points: i, i + classes, i + 2 * classes, ...
template <class T> INLINE void distances(const T* q, Index padded, Index classes, Scratch<T>& s) {
  const T *__restrict x = s.x.data(), *__restrict y = s.y.data(), *__restrict z = s.z.data();
  const T qx = q[0], qy = q[1], qz = q[2];
  for (Index j = 0; j < classes; ++j) s.smallest[j] = std::numeric_limits<T>::infinity();
  Index part = 0;
  for (Index base = 0; base < padded; base += WORD) {
    T *__restrict row = s.row.data() + base, *__restrict smallest = s.smallest.data() + part;
#pragma omp simd
    for (Index j = 0; j < WORD; ++j) {
      const T d = squared(qx - x[base + j], qy - y[base + j], qz - z[base + j]);
      row[j] = d;
      smallest[j] = d < smallest[j] ? d : smallest[j];
    }
    part = part + WORD == classes ? 0 : part + WORD;
  }
}

// Collects all points within `bound`, in the order of their indices; returns how many.
template <class T> INLINE Index collect(T bound, Index padded, Scratch<T>& s) {
  using Int = typename Lane<T>::Int;
  const T* __restrict row = s.row.data();
  T* __restrict value = s.value.data();
  Int* __restrict candidate = s.candidate.data();
  Index m = 0;
  for (Index base = 0; base < padded; base += WORD) {
    std::uint8_t flag[WORD];
#pragma omp simd
    for (Index j = 0; j < WORD; ++j) flag[j] = row[base + j] <= bound;
    std::uint64_t word[WORD / 8], bits = 0;
    std::memcpy(word, flag, WORD);
    for (int j = 0; j < WORD / 8; ++j) bits |= (word[j] * 0x0102040810204080 >> 56) << (8 * j);  // eight flags, a byte
    for (; bits; bits &= bits - 1) {
      const Index i = base + Index(FIRST_BIT(bits));
      candidate[m] = Int(i), value[m] = row[i], ++m;
    }
  }
  return m;
}

// Bounds the candidates once more, among themselves: many are left where the points of a file lie in rows whose length
// the number of classes divides, and neighbours therefore share a class. Returns how many remain. Rare, so not inline.
template <class T> Index tighten(Index m, Index k, Index classes, Scratch<T>& s) {
  std::fill(&s.smallest[0], &s.smallest[classes], std::numeric_limits<T>::infinity());
  for (Index base = 0; base < m; base += classes)
    for (Index j = base; j < std::min(base + classes, m); ++j)
      s.smallest[j - base] = std::min(s.smallest[j - base], s.value[j]);
  const T bound = kth_smallest(s.smallest.data(), classes, k, s.rank.data());
  Index kept = 0;
  for (Index j = 0; j < m; ++j)
    if (s.value[j] <= bound) s.value[kept] = s.value[j], s.candidate[kept] = s.candidate[j], ++kept;
  return kept;
}

// One query. The k-th smallest of the class minima bounds the k-th distance from above and lets few others through,
// since points that follow each other in a file, and are often near each other, fall into different classes.
template <class T>
INLINE void knn_query(const T* q, Index n, Index k, Index classes, Scratch<T>& s, T* dists, Index* idx) {
  using Int = typename Lane<T>::Int;
  const Index padded = round_up(n, WORD);
  distances(q, padded, classes, s);
  const T bound = kth_smallest(s.smallest.data(), classes, k, s.rank.data());
  Index m = collect(bound, padded, s);
  if (m > 2 * classes) m = tighten(m, k, classes, s);
  order_smallest(s.value.data(), m, k, s.rank.data(), s.order.data());
  const Int* __restrict order = s.order.data();
  for (Index j = 0; j < k; ++j) dists[j] = s.value[order[j]], idx[j] = s.candidate[order[j]];
}

// ------------------------------------------------------------------------------------------------------------- jobs

template <class T> struct Fps {
  using Type = T;
  const T* points;
  Index clouds, n, k, start;
  bool skip;
  Index* idx;

  Index tasks() const { return clouds; }
  Index work() const { return clouds * n * k; }
  void reserve(Scratch<T>& s) const {
    for (auto* row : {&s.x, &s.y, &s.z, &s.row}) row->resize(round_up(n, BLOCK));
  }
  INLINE int run(Index b, Scratch<T>& s) const {
    return fps_cloud(points + b * n * 3, n, k, start, skip, s, idx + b * k);
  }
};

template <class T> struct Knn {
  using Type = T;
  const T *query, *points;
  Index clouds, g, n, k;
  T* dists;
  Index* idx;

  static constexpr Index QUERIES = 64;  // of one task: enough to pay for transposing the cloud again
  Index parts() const { return (g + QUERIES - 1) / QUERIES; }
  Index classes() const { return round_up(2 * k, WORD); }
  Index tasks() const { return clouds * parts(); }
  Index work() const { return clouds * g * n; }
  void reserve(Scratch<T>& s) const {
    const Index padded = round_up(n, WORD);
    for (auto* row : {&s.x, &s.y, &s.z, &s.row, &s.value}) row->resize(padded);
    std::fill(&s.x[n], &s.x[padded], std::numeric_limits<T>::infinity());  // padding is farther than any point
    s.smallest.resize(classes());
    s.rank.resize(std::max(padded, classes()));
    s.order.resize(padded);
    s.candidate.resize(padded);
  }
  INLINE int run(Index task, Scratch<T>& s) const {
    const Index b = task / parts(), first = task % parts() * QUERIES, last = std::min(first + QUERIES, g);
    if (!transpose(points + b * n * 3, n, s) || !finite(query + (b * g + first) * 3, 3 * (last - first)))
      return NOT_FINITE;
    for (Index i = b * g + first; i < b * g + last; ++i)
      knn_query(query + i * 3, n, k, classes(), s, dists + i * k, idx + i * k);
    return OK;
  }
};

// What the threads of one call share: the next task that nobody has taken, and the worst status so far.
struct Shared {
  std::atomic<Index> next{0};
  std::atomic<int> status{OK};
};

template <class Job> INLINE void work(const Job& job, Scratch<typename Job::Type>& scratch, Shared& shared) {
  for (Index task; (task = shared.next.fetch_add(1)) < job.tasks();)
    if (const int status = job.run(task, scratch)) shared.status = status;
}

template <class Job> using Worker = void (*)(const Job&, Scratch<typename Job::Type>&, Shared&);

template <class Job> void work_plain(const Job& job, Scratch<typename Job::Type>& scratch, Shared& shared) {
  work(job, scratch, shared);
}

#ifdef X86_WIDTHS
template <class Job>
__attribute__((target("avx2"))) void work_avx2(const Job& job, Scratch<typename Job::Type>& scratch, Shared& shared) {
  work(job, scratch, shared);
}

template <class Job>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
void work_avx512(const Job& job, Scratch<typename Job::Type>& scratch, Shared& shared) {
  work(job, scratch, shared);
}
#endif

int widest() {
#ifdef X86_WIDTHS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return 2;
  if (__builtin_cpu_supports("avx2")) return 1;
#endif
  return 0;
}

template <class Job> Worker<Job> worker([[maybe_unused]] int width) {
#ifdef X86_WIDTHS
  if (width == 2) return work_avx512<Job>;
  if (width == 1) return work_avx2<Job>;
#endif
  return work_plain<Job>;
}

// Runs a job on up to `threads` threads, the caller's among them.
template <class Job> int run(const Job& job, int threads, int width) try {
  const Worker<Job> function = worker<Job>(std::min(width, widest()));
  const Index useful = std::min(job.tasks(), job.work() / PARALLEL + 1);
  std::vector<Scratch<typename Job::Type>> scratch(std::size_t(std::max<Index>(1, std::min<Index>(threads, useful))));
  for (auto& s : scratch) job.reserve(s);
  std::vector<std::thread> pool;
  pool.reserve(scratch.size());
  Shared shared;
  for (std::size_t i = 1; i < scratch.size(); ++i) try {
      pool.emplace_back(function, std::cref(job), std::ref(scratch[i]), std::ref(shared));
    } catch (...) {
      break;  // the machine has no thread to spare: those we have do the work
    }
  function(job, scratch[0], shared);
  for (auto& thread : pool) thread.join();
  return shared.status;
} catch (const std::bad_alloc&) {
  return NO_MEMORY;
}

}  // namespace

// The number that native.py expects: raised with every change of a signature below.
API int pcclora_geometry_version() { return 1; }

// The widest vectors that this machine has: 0 the compiler's own (SSE2, NEON), 1 AVX2, 2 AVX-512.
API int pcclora_geometry_widest() { return widest(); }

// points (clouds, n, 3), idx (clouds, k); each returns a Status.
#define FPS(NAME, T)                                                                                                   \
  API int NAME(const T* p, Index b, Index n, Index k, Index start, int skip, int threads, int width, Index* idx) {     \
    return run(Fps<T>{p, b, n, k, start, skip != 0, idx}, threads, width);                                             \
  }
FPS(pcclora_fps_f32, float)
FPS(pcclora_fps_f64, double)

// query (clouds, g, 3), points (clouds, n, 3), dists and idx (clouds, g, k).
#define KNN(NAME, T)                                                                                                   \
  API int NAME(const T* query, const T* points, Index b, Index g, Index n, Index k, int threads, int width, T* dists,  \
               Index* idx) {                                                                                           \
    return run(Knn<T>{query, points, b, g, n, k, dists, idx}, threads, width);                                         \
  }
KNN(pcclora_knn_f32, float)
KNN(pcclora_knn_f64, double)
