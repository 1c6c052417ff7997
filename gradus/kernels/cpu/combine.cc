#include "gradus/kernels/cpu/combine.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradus/kernels/cpu/combine.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <type_traits>

#include "gradus/kernels/cpu/half-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradus::kernels::HWY_NAMESPACE {
namespace {

// What T is computed in. No vector instruction multiplies bytes; modulo 2^16 they wrap to the same lower byte.
template <class T>
struct ComputedIn {
  using type = T;
};
template <>
struct ComputedIn<BFloat16> {
  using type = float;
};
template <>
struct ComputedIn<Float16> {
  using type = float;
};
template <>
struct ComputedIn<uint8_t> {
  using type = uint16_t;
};
template <class T>
using Computed = typename ComputedIn<T>::type;

template <class D, class T>
HWY_INLINE hn::Vec<D> LoadAs(D d, const T* p) {
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    return hn::LoadU(d, p);
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint8_t, D>(), p));
  } else {
    return LoadFloats(d, p);
  }
}
template <class D, class T>
HWY_INLINE void StoreAs(D d, hn::Vec<D> v, T* p) {
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    hn::StoreU(v, d, p);
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    const auto byte = hn::BitCast(hn::RebindToSigned<D>(), hn::And(v, hn::Set(d, uint16_t{0xff})));
    hn::StoreU(hn::DemoteTo(hn::Rebind<uint8_t, D>(), byte), hn::Rebind<uint8_t, D>(), p);
  } else {
    StoreFloats(d, v, p);
  }
}

// Where a or b is NaN, the quiet NaN; elsewhere v.
template <class D, class V>
HWY_INLINE V NaNOr(D d, V a, V b, V v) {
  const auto nan = hn::Set(d, std::numeric_limits<hn::TFromD<D>>::quiet_NaN());
  return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::IsNaN(b)), nan, v);
}

struct Sum {
  template <class D, class V>
  static HWY_INLINE V Of(D, V a, V b) {
    return hn::Add(a, b);
  }
};
struct Product {
  template <class D, class V>
  static HWY_INLINE V Of(D, V a, V b) {
    return hn::Mul(a, b);
  }
};
// Of two zeros x86 takes the second one: both orders differ in the sign alone, which Or and And decide.
struct Least {
  template <class D, class V>
  static HWY_INLINE V Of(D d, V a, V b) {
    if constexpr (hwy::IsFloat<hn::TFromD<D>>()) {
      return NaNOr(d, a, b, hn::Or(hn::Min(a, b), hn::Min(b, a)));
    } else {
      return hn::Min(a, b);
    }
  }
};
struct Greatest {
  template <class D, class V>
  static HWY_INLINE V Of(D d, V a, V b) {
    if constexpr (hwy::IsFloat<hn::TFromD<D>>()) {
      return NaNOr(d, a, b, hn::And(hn::Max(a, b), hn::Max(b, a)));
    } else {
      return hn::Max(a, b);
    }
  }
};

// What becomes of a whole tree before it is stored: nothing, or the division of a mean.
struct Keep {
  template <class D, class V>
  HWY_INLINE V operator()(D, V v) const {
    return v;
  }
};
template <class C>
struct DivideBy {
  explicit DivideBy(int64_t n_mean)
      : n(static_cast<C>(n_mean)), inverse(1 / n), power_of_2(std::has_single_bit(static_cast<uint64_t>(n_mean))) {}
  template <class D, class V>
  HWY_INLINE V operator()(D d, V v) const {
    // 1 / 2^k is exact, and the product rounds as the quotient does; divisions are several times slower.
    return power_of_2 ? hn::Mul(v, hn::Set(d, inverse)) : hn::Div(v, hn::Set(d, n));
  }
  C n, inverse;
  bool power_of_2;
};

using Arrays = std::span<const void* const>;

// Elements [begin, begin + count) of every array. Like Arrays it travels in registers, which short calls notice.
struct Range {
  int64_t begin, count;
};

// One vector of the tree over N arrays.
template <class Op, size_t N, class D, class T>
HWY_INLINE hn::Vec<D> TreeOfVectors(D d, const T* const* x, int64_t i) {
  if constexpr (N == 1) {
    return LoadAs(d, x[0] + i);
  } else {
    constexpr size_t p = std::bit_floor(N - 1);
    return Op::Of(d, TreeOfVectors<Op, p>(d, x, i), TreeOfVectors<Op, N - p>(d, x + p, i));
  }
}

// body(d, i) for vectors that cover elements [i, n), n - i < 2 * the lanes of D: ever smaller ones, each at most once.
template <class D, class Body>
HWY_INLINE void ForHalves(D d, int64_t i, int64_t n, Body body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (i + lanes <= n) {
    body(d, i);
    i += lanes;
  }
  if constexpr (hn::MaxLanes(D()) > 1) ForHalves(hn::Half<D>(), i, n, body);
}

// N arrays in one pass.
template <class Op, size_t N, class In, class Out, class Finish>
HWY_NOINLINE void CombineN(const void* const* xs, Range range, Finish finish, Out* y) {
  std::array<const In*, N> x;  // copied, so that no store can seem to change it
  for (size_t k = 0; k < N; ++k) x[k] = static_cast<const In*>(xs[k]) + range.begin;
  const auto step = [&](auto d, int64_t i) HWY_ATTR {
    const auto whole = TreeOfVectors<Op, N>(d, x.data(), i);
    StoreAs(d, finish(d, whole), y + i);
  };
  using D = hn::ScalableTag<Computed<In>>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t i = 0;
  for (; i + lanes <= range.count; i += lanes) step(D(), i);
  if (i < range.count) ForHalves(hn::Half<D>(), i, range.count, step);
}

// Of a partial result. Two of them and their blocks of inputs share the first-level cache: of 1, 2 and 4 KiB the
// fastest for 6 to 16 arrays on a Zen 4.
constexpr size_t kBlockBytes = 2048;

template <class Op, class In, class Out, class Finish>
void Combine(Arrays xs, Range range, Finish finish, Out* y);

// More arrays than CombineN has code for: the two halves of their tree, in blocks.
template <class Op, class In, class Out, class Finish>
HWY_NOINLINE void CombineHalves(Arrays xs, Range range, Finish finish, Out* y) {
  using C = Computed<In>;
  constexpr int64_t kBlock = kBlockBytes / sizeof(C);
  HWY_ALIGN C left[kBlock], right[kBlock];
  const std::array<const void*, 2> halves = {left, right};
  const size_t p = std::bit_floor(xs.size() - 1);
  for (int64_t i = 0; i < range.count; i += kBlock) {
    const Range block = {range.begin + i, std::min(kBlock, range.count - i)};
    Combine<Op, In>(xs.first(p), block, Keep(), left);
    Combine<Op, In>(xs.subspan(p), block, Keep(), right);
    CombineN<Op, 2, C>(halves.data(), {0, block.count}, finish, y + i);
  }
}

template <class Op, class In, class Out, class Finish>
void Combine(Arrays xs, Range range, Finish finish, Out* y) {
  switch (xs.size()) {
    case 1:
      return CombineN<Op, 1, In>(xs.data(), range, finish, y);
    case 2:
      return CombineN<Op, 2, In>(xs.data(), range, finish, y);
    case 3:
      return CombineN<Op, 3, In>(xs.data(), range, finish, y);
    case 4:
      return CombineN<Op, 4, In>(xs.data(), range, finish, y);
    default:
      return CombineHalves<Op, In>(xs, range, finish, y);
  }
}

template <class T>
void CombineAs(const ref::Combination& c) {
  const Range all = {0, c.count};
  T* y = static_cast<T*>(c.y);
  switch (c.op) {
    case ReduceOp::sum:
      return Combine<Sum, T>(c.xs, all, Keep(), y);
    case ReduceOp::min:
      return Combine<Least, T>(c.xs, all, Keep(), y);
    case ReduceOp::max:
      return Combine<Greatest, T>(c.xs, all, Keep(), y);
    case ReduceOp::prod:
      return Combine<Product, T>(c.xs, all, Keep(), y);
    case ReduceOp::mean:
      if constexpr (std::is_integral_v<T>) {
        Combine<Sum, T>(c.xs, all, Keep(), y);
        // No vector instruction divides integers.
        for (int64_t i = 0; i < c.count; ++i) y[i] = ref::divided(y[i], c.n_mean);
      } else {
        Combine<Sum, T>(c.xs, all, DivideBy<Computed<T>>(c.n_mean), y);
      }
  }
}

void CombineArrays(const ref::Combination& c) {
  switch (c.dtype) {
    case DType::f64:
      return CombineAs<double>(c);
    case DType::f32:
      return CombineAs<float>(c);
    case DType::bf16:
      return CombineAs<BFloat16>(c);
    case DType::f16:
      return CombineAs<Float16>(c);
    case DType::i64:
      return CombineAs<int64_t>(c);
    case DType::i32:
      return CombineAs<int32_t>(c);
    case DType::u8:
      return CombineAs<uint8_t>(c);
  }
}

}  // namespace
}  // namespace gradus::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradus::kernels::cpu {

HWY_EXPORT(CombineArrays);

void combine(const ref::Combination& c) {
  HWY_DYNAMIC_DISPATCH(CombineArrays)(c);
}

}  // namespace gradus::kernels::cpu
#endif
