// prelude.cl: the kernel dialect spelled in OpenCL C 1.2. Its twin is prelude.glsl; README.md lists the words.
// Nothing may be fused or reordered behind the body's back: both APIs have to round alike.
#pragma OPENCL FP_CONTRACT OFF
#define VARIANT_BASE
#if defined(VARIANT_HALF) || defined(VARIANT_PACKED) || defined(VARIANT_ROUNDED)
#define HALVES_ // tensors have elements of 16 bits
#endif

// Tunables, the work-group size LX, LY, LZ and the vector width VW among them, come as -D.
#define TUNABLE(id, name, value)
#define VARIANT(name)

// Kernel signature: PARAMS are one struct by value, the last argument.
#define PARAMS(fields) typedef struct { fields } Params;
#define BUF_IN(i, T, name) __global const T *restrict name,
#define BUF_OUT(i, T, name) __global T *restrict name,
#define KERNEL(name, buffers) __kernel __attribute__((reqd_work_group_size(LX, LY, LZ))) void name(buffers const Params p)
#define FUNC static inline

// Ids.
#define GLOBAL_ID(d) ((int)get_global_id(d))
#define LOCAL_ID(d) ((int)get_local_id(d))
#define GROUP_ID(d) ((int)get_group_id(d))

// Local memory: declared at file scope in GLSL, inside the kernel in OpenCL C, so it has one macro for each place.
#define LOCAL_GLOBAL_SCOPE(T, name, n)
#define LOCAL_KERNEL_SCOPE(T, name, n) __local T name[n];
#define LOCAL_LANE(v, i) (((__local float *)&(v))[i])
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)

// Elements of tensors: floats, or in the variant half 16 bits, whose values are floats as soon as they are loaded. The
// tunable NATIVE_HALF says which of the device's conversions are exact. A WORD is an element that may be an integer, too:
// its bits are those of a float or an integer of 32 bits.
#ifdef HALVES_
#define ELEM ushort
#define ELEM_LOAD(buf, i) elem_load((buf) + (i))
#define ELEM_STORE(buf, i, v) elem_store((buf) + (i), v)
#define WORD ushort
#define WORD_LOAD(buf, i) as_uint(elem_load((buf) + (i)))
#define WORD_STORE(buf, i, v) elem_store((buf) + (i), as_float(v))
static inline float HALF_TO_FLOAT(uint h);
static inline uint FLOAT_TO_HALF(float x);
static inline float elem_load(const __global ELEM *b) {
    return (NATIVE_HALF & 1) != 0 ? vload_half(0, (const __global half *)b) : HALF_TO_FLOAT(*b);
}
static inline void elem_store(__global ELEM *b, float v) {
    if ((NATIVE_HALF & 2) != 0) {
        vstore_half_rte(v, 0, (__global half *)b);
    } else {
        *b = (ushort)FLOAT_TO_HALF(v);
    }
}
#else
#define ELEM float
#define ELEM_LOAD(buf, i) ((buf)[i])
#define ELEM_STORE(buf, i, v) ((buf)[i] = (v))
#define WORD uint
#define WORD_LOAD(buf, i) ((buf)[i])
#define WORD_STORE(buf, i, v) ((buf)[i] = (v))
#endif

// The word of a vector type or function with its width: OF_WIDTH_(vload, VW) is vload16 where VW is 16.
#define OF_WIDTH_(word, width) PASTE_(word, width)
#define PASTE_(word, width) word##width

// Vectors: VW floats, or in a body with a tunable NARROW that isn't 0, so many. VLOAD and VSTORE take a float buffer and the index of a float, aligned or not.
#ifdef NARROW
#if NARROW > 0
#undef VW
#define VW NARROW
#endif
#endif
#if VW == 1
#define VEC float
#define VLOAD(buf, i) ((buf)[i])
#define VSTORE(buf, i, v) ((buf)[i] = (v))
#define UVEC uint
#define TO_UVEC(v) ((uint)(int)(v))
#define TO_VEC(v) ((float)(int)(v))
#define AS_UVEC(v) as_uint(v)
#define AS_VEC(u) as_float(u)
#define VLOAD_BYTES(buf, i) ((uint)((const __global uchar *)(buf))[i])
#ifdef HALVES_
static inline VEC vec_read(const __global WORD *b) { return vload_half(0, (const __global half *)b); }
#else
static inline VEC vec_read(const __global WORD *b) { return *(const __global float *)b; }
#endif
#elif VW == 4 || VW == 8 || VW == 16
#define VEC OF_WIDTH_(float, VW)
#define VLOAD(buf, i) OF_WIDTH_(vload, VW)(0, (buf) + (i))
#define VSTORE(buf, i, v) OF_WIDTH_(vstore, VW)(v, 0, (buf) + (i))
#define UVEC OF_WIDTH_(uint, VW)
#define TO_UVEC(v) OF_WIDTH_(as_uint, VW)(OF_WIDTH_(convert_int, VW)(v))
#define TO_VEC(v) OF_WIDTH_(convert_float, VW)(OF_WIDTH_(as_int, VW)(v))
#define AS_UVEC(v) OF_WIDTH_(as_uint, VW)(v)
#define AS_VEC(u) OF_WIDTH_(as_float, VW)(u)
#define VLOAD_BYTES(buf, i) OF_WIDTH_(convert_uint, VW)(OF_WIDTH_(vload, VW)(0, (const __global uchar *)(buf) + (i)))
#ifdef HALVES_
static inline VEC vec_read(const __global WORD *b) { return OF_WIDTH_(vload_half, VW)(0, (const __global half *)b); }
#else
static inline VEC vec_read(const __global WORD *b) { return OF_WIDTH_(vload, VW)(0, (const __global float *)b); }
#endif
#else
#error "VW, the vector width, has to be 1, 4, 8 or 16"
#endif
#define VEC_SPLAT(x) ((VEC)(x))
#define LANE(v, i) (((float *)&(v))[i])
#define UVEC_SPLAT(x) ((UVEC)(x))
#define ULANE(v, i) (((uint *)&(v))[i])

#define WORD_VLOAD(buf, i) word_vload((buf) + (i))
#ifdef HALVES_
#define WORD_VSTORE(buf, i, v) \
    _Pragma("unroll") for (int wordLane = 0; wordLane < VW; wordLane++) { ELEM_STORE(buf, (i) + wordLane, LANE(v, wordLane)); }
#else
#define WORD_VSTORE(buf, i, v) VSTORE((__global float *)(buf), i, v)
#endif
static inline VEC word_vload(const __global WORD *b) {
#ifdef HALVES_
    if ((NATIVE_HALF & 1) == 0) {
        VEC v;
        for (int l = 0; l < VW; l++) {
            LANE(v, l) = HALF_TO_FLOAT(b[l]);
        }
        return v;
    }
#endif
    return vec_read(b);
}

// The device's own dot product of bytes.
#ifdef VARIANT_DOT
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#define DOT4_SS(a, b) as_uint(dot_4x8packed_ss_int(a, b))
#endif

// What short sums of products are formed in: VECs, or in the variant packed vectors of as many halves, in the device's own
// arithmetic. The variant rounded computes the same in f32 by rounding each result, see README.md. HVEC_ROUNDS is defined in
// both. An HVEC_STORAGE is a scalar in a buffer, and HVEC_READ the lane that it is.
#ifdef VARIANT_PACKED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define HVEC_ROUNDS
#define HLANE_ half
#if VW == 1
#define HVEC half
#define HVEC_OF(v) convert_half(v)
#define HVEC_FLOATS(h) convert_float(h)
#else
#define HVEC OF_WIDTH_(half, VW)
#define HVEC_OF(v) OF_WIDTH_(convert_half, VW)(v)
#define HVEC_FLOATS(h) OF_WIDTH_(convert_float, VW)(h)
#endif
#define HVEC_STORAGE half
#define HVEC_READ(buf, i) ((buf)[i])
#define HVEC_FMA(a, b, c) fma(a, b, c)
#else
#define HLANE_ float
#define HVEC VEC
#define HVEC_OF(v) (v)
#define HVEC_FLOATS(h) (h)
#define HVEC_STORAGE ELEM
#define HVEC_READ(buf, i) ELEM_LOAD(buf, i)
#ifdef VARIANT_ROUNDED
#define HVEC_ROUNDS
#define HVEC_FMA(a, b, c) ROUND_HALF(fma(a, b, c))
#else
#define HVEC_FMA(a, b, c) fma(a, b, c)
#endif
#endif
#define HVEC_SPLAT(x) ((HVEC)(x))
#define HVEC_LANE(h, i) (((HLANE_ *)&(h))[i])
#define LOCAL_HVEC_LANE(h, i) (((__local HLANE_ *)&(h))[i])

// Scalars from wide loads: compilers of straight code broadcast from memory, so a QUAD is a single float here.
#define QUAD float
#define QUAD_WIDTH 1
#define QUAD_AT(q, i) (q)

// Rows: RW neighbouring results, in a body with a tunable RW. Comparisons and ?: of rows choose lane by lane.
#ifdef RW
#if RW == 1
#define ROW float
#define ROW_IS_NAN(v) ((as_uint(v) & 0x7fffffffu) > 0x7f800000u)
#define ROW_RAMP(x, step) ((float)(x))
static inline ROW row_read(const __global ELEM *b) { return ELEM_LOAD(b, 0); }
static inline void row_write(ROW v, __global ELEM *b) { ELEM_STORE(b, 0, v); }
static inline ROW row_even(ROW a, ROW b) { return a; }
static inline ROW row_zip_lo(ROW a, ROW b) { return a; }
static inline ROW row_zip_hi(ROW a, ROW b) { return b; }
#elif RW == 4 || RW == 8 || RW == 16
#if RW == 16
#define ROW_COUNT_ (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#elif RW == 8
#define ROW_COUNT_ (float8)(0, 1, 2, 3, 4, 5, 6, 7)
#else
#define ROW_COUNT_ (float4)(0, 1, 2, 3)
#endif
#define ROW OF_WIDTH_(float, RW)
#define ROW_IS_NAN(v) ((OF_WIDTH_(as_uint, RW)(v) & 0x7fffffffu) > 0x7f800000u)
#define ROW_RAMP(x, step) ((float)(x) + (float)(step) * ROW_COUNT_)
#ifdef HALVES_
static inline ROW row_read(const __global ELEM *b) { return OF_WIDTH_(vload_half, RW)(0, (const __global half *)b); }
static inline void row_write(ROW v, __global ELEM *b) { OF_WIDTH_(OF_WIDTH_(vstore_half, RW), _rte)(v, 0, (__global half *)b); }
#else
static inline ROW row_read(const __global ELEM *b) { return OF_WIDTH_(vload, RW)(0, b); }
static inline void row_write(ROW v, __global ELEM *b) { OF_WIDTH_(vstore, RW)(v, 0, b); }
#endif
static inline ROW row_even(ROW a, ROW b) { return (ROW)(a.even, b.even); }
static inline ROW row_zip_lo(ROW a, ROW b) { ROW v; v.even = a.lo; v.odd = b.lo; return v; }
static inline ROW row_zip_hi(ROW a, ROW b) { ROW v; v.even = a.hi; v.odd = b.hi; return v; }
#else
#error "RW, the width of a ROW, has to be 1, 4, 8 or 16"
#endif
#define ROW_SPLAT(x) ((ROW)(x))
#define ROW_LANE(v, i) (((float *)&(v))[i])
#define ROW_LOAD(buf, i, step, last) row_load(buf, i, step, last)
#define ROW_LOAD_WITHIN(buf, i, step) row_load_within((buf) + (i), step)
#define ROW_STORE(buf, i, v, n) row_store(buf, i, v, n)
#define ROW_STORE_2(buf, i, a, b, n) row_store_2(buf, i, a, b, n)
#define ROW_STORE_4(buf, i, a, b, c, d, n) row_store_4(buf, i, a, b, c, d, n)
#define ROW_DIV_EXACT(a, b) row_div(a, b)

static inline ROW row_load_within(const __global ELEM *b, int step) {
    if (step == 1) {
        return row_read(b);
    }
    if (step == 2) {
        return row_even(row_read(b), row_read(b + RW));
    }
    if (step == 4) {
        return row_even(row_even(row_read(b), row_read(b + RW)), row_even(row_read(b + 2 * RW), row_read(b + 3 * RW)));
    }
    ROW v;
    _Pragma("unroll") for (int l = 0; l < RW; l++) {
        ROW_LANE(v, l) = ELEM_LOAD(b, l * step);
    }
    return v;
}

static inline ROW row_load(const __global ELEM *b, int i, int step, int last) {
#ifdef HALVES_
    bool wide = (NATIVE_HALF & 1) != 0;
#else
    bool wide = true;
#endif
    if (wide && (step == 1 || step == 2) && i >= 0 && i + step * RW - 1 <= last) {
        return row_load_within(b + i, step);
    }
    ROW v;
    _Pragma("nounroll") for (int l = 0; l < RW; l++) {
        ROW_LANE(v, l) = ELEM_LOAD(b, clamp(i + l * step, 0, last));
    }
    return v;
}

static inline void row_store(__global ELEM *b, int i, ROW v, int n) {
#ifdef HALVES_
    bool wide = (NATIVE_HALF & 2) != 0;
#else
    bool wide = true;
#endif
    if (wide && n >= RW) {
        row_write(v, b + i);
        return;
    }
    _Pragma("nounroll") for (int l = 0; l < min(n, RW); l++) {
        ELEM_STORE(b, i + l, ROW_LANE(v, l));
    }
}

static inline void row_store_2(__global ELEM *buf, int i, ROW a, ROW b, int n) {
    row_store(buf, i, row_zip_lo(a, b), n);
    row_store(buf, i + RW, row_zip_hi(a, b), n - RW);
}

static inline void row_store_4(__global ELEM *buf, int i, ROW a, ROW b, ROW c, ROW d, int n) {
    row_store_2(buf, i, row_zip_lo(a, c), row_zip_lo(b, d), n);
    row_store_2(buf, i + 2 * RW, row_zip_hi(a, c), row_zip_hi(b, d), n - 2 * RW);
}

// The quotient is refined twice by its residual, which fma has without rounding, over the reciprocal rounded to nearest.
// It is left alone where it is not finite, or so small that the residual would be denormal.
static inline ROW row_div(ROW a, ROW b) {
    ROW q = a / b;
    ROW y = 1.0f / b;
    y = fma(fma(-b, y, ROW_SPLAT(1.0f)), y, y);
    ROW z = fma(fma(-q, b, a), y, q);
    z = fma(fma(-z, b, a), y, z);
    return fabs(q) < INFINITY && fabs(q) > 0x1p-100f ? z : q;
}
#endif

// OpenCL C 1.2 has no subgroups: a kernel that can share through them is told not to.
#define SUBGROUP_LANE() 0
#define SUBGROUP_SHUFFLE(v, i) (v)

// Arithmetic. PRECISE marks a variable whose value is computed as written: OpenCL C does that anyway.
#define FMA(a, b, c) fma(a, b, c)
#define ABS(x) fabs(x)
#define PRECISE
#define INFINITY_F INFINITY
#define IS_NAN(x) ((as_uint(x) & 0x7fffffffu) > 0x7f800000u)
#define AS_UINT(x) as_uint(x)
#define AS_FLOAT(x) as_float(x)
#define TO_FLOAT(x) ((float)(x))
#define TO_INT(x) ((int)(x))
#define TO_UINT(x) ((uint)(x))

// A kernel with loops is scalar code here, in which a division is an instruction.
#define QUOTIENT(a, b) ((a) / (b))

// The larger of buf[i] and v to buf[i], whatever other work-items do; buf holds ints.
#define ATOMIC_MAX(buf, i, v) atomic_max(&(buf)[i], v)

// Loops.
#define UNROLL _Pragma("unroll")
#define LOOP _Pragma("nounroll")
