// prelude.glsl: the kernel dialect spelled in GLSL 4.60 for Vulkan. Its twin is prelude.cl; README.md lists the words.
#version 460
#define VARIANT_BASE
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#if !defined(VARIANT_BASE) && !defined(VARIANT_DOT) && !defined(VARIANT_BYTES)
#define HALVES_ // tensors have elements of 16 bits
#extension GL_EXT_shader_16bit_storage : require
#endif
#ifdef VARIANT_PACKED
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#ifdef VARIANT_DOT
#extension GL_EXT_spirv_intrinsics : require
#endif
#ifdef VARIANT_MATRIX
#pragma use_vulkan_memory_model
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif

// Tunables are specialization constants. 0, 1 and 2 are the work-group size of every kernel.
layout(local_size_x_id = 0, local_size_y_id = 1, local_size_z_id = 2) in;
#define LX int(gl_WorkGroupSize.x)
#define LY int(gl_WorkGroupSize.y)
#define LZ int(gl_WorkGroupSize.z)
#define TUNABLE(id, name, value) layout(constant_id = id) const int name = value;
#define VARIANT(name)

// Kernel signature: PARAMS are push constants, buffers are numbered storage buffers.
#define PARAMS(fields) layout(push_constant) uniform Params { fields } p;
#define BUF_IN(i, T, name) layout(std430, set = 0, binding = i) readonly restrict buffer Buffer##i { T name[]; };
#define BUF_OUT(i, T, name) layout(std430, set = 0, binding = i) restrict buffer Buffer##i { T name[]; };
#define KERNEL(name, buffers) buffers void main()
#define FUNC

// Ids.
#define GLOBAL_ID(d) int(gl_GlobalInvocationID[d])
#define LOCAL_ID(d) int(gl_LocalInvocationID[d])
#define GROUP_ID(d) int(gl_WorkGroupID[d])

// Local memory: declared at file scope in GLSL, inside the kernel in OpenCL C, so it has one macro for each place.
#define LOCAL_GLOBAL_SCOPE(T, name, n) shared T name[n];
#define LOCAL_KERNEL_SCOPE(T, name, n)
#define LOCAL_LANE(v, i) ((v)[i])
#define BARRIER() barrier()

// Vectors: VW floats. GLSL has 4 at most, so a wider tile is more registers, never a wider type.
// VLOAD and VSTORE take a float buffer and the index of a float, aligned or not.
#define VW 4
#define VEC vec4
#define VLOAD(buf, i) vec4(buf[i], buf[(i) + 1], buf[(i) + 2], buf[(i) + 3])
#define VSTORE(buf, i, v) { buf[i] = (v).x; buf[(i) + 1] = (v).y; buf[(i) + 2] = (v).z; buf[(i) + 3] = (v).w; }
#define VEC_SPLAT(x) vec4(x)
#define LANE(v, i) ((v)[i])

// Vectors of VW uints; TO_UVEC takes integral floats as ints, TO_VEC ints below 2^31. VLOAD_BYTES takes a buffer of
// uints, in which bytes lie, and the index of the first one.
#define UVEC uvec4
#define UVEC_SPLAT(x) uvec4(x)
#define ULANE(v, i) ((v)[i])
#define TO_UVEC(v) uvec4(ivec4(v))
#define TO_VEC(v) vec4(ivec4(v))
#define AS_UVEC(v) floatBitsToUint(v)
#define AS_VEC(u) uintBitsToFloat(u)
#define VLOAD_BYTES(buf, i) uvec4(ELEMENT(3, uint(buf[(i) / 4]), i), ELEMENT(3, uint(buf[((i) + 1) / 4]), (i) + 1), \
    ELEMENT(3, uint(buf[((i) + 2) / 4]), (i) + 2), ELEMENT(3, uint(buf[((i) + 3) / 4]), (i) + 3))

// Elements of tensors: floats, or in variants 16 bits, whose values are floats as soon as they are loaded. The
// tunable NATIVE_HALF says which of the device's conversions are exact. A WORD is an element that may be an integer, too:
// its bits are those of a float or an integer of 32 bits.
#ifdef HALVES_
#define ELEM uint16_t
#define ELEM_LOAD(buf, i) ((NATIVE_HALF & 1) != 0 ? unpackHalf2x16(uint(buf[i])).x : HALF_TO_FLOAT(uint(buf[i])))
#define ELEM_STORE(buf, i, v) buf[i] = uint16_t((NATIVE_HALF & 2) != 0 ? packHalf2x16(vec2(v, 0.0)) : FLOAT_TO_HALF(v))
#define WORD uint16_t
#define WORD_LOAD(buf, i) floatBitsToUint(ELEM_LOAD(buf, i))
#define WORD_STORE(buf, i, v) ELEM_STORE(buf, i, uintBitsToFloat(v))
#else
#define ELEM float
#define ELEM_LOAD(buf, i) buf[i]
#define ELEM_STORE(buf, i, v) buf[i] = v
#define WORD uint
#define WORD_LOAD(buf, i) buf[i]
#define WORD_STORE(buf, i, v) buf[i] = v
#endif
// A VEC to WORDs that are floats, from the i-th on.
#define WORD_VSTORE(buf, i, v) { \
    WORD_STORE(buf, i, floatBitsToUint((v).x)); \
    WORD_STORE(buf, (i) + 1, floatBitsToUint((v).y)); \
    WORD_STORE(buf, (i) + 2, floatBitsToUint((v).z)); \
    WORD_STORE(buf, (i) + 3, floatBitsToUint((v).w)); \
}

// A VEC of WORDs that are floats, from the i-th on.
#define WORD_VLOAD(buf, i) uintBitsToFloat(uvec4(WORD_LOAD(buf, i), WORD_LOAD(buf, (i) + 1), WORD_LOAD(buf, (i) + 2), \
    WORD_LOAD(buf, (i) + 3)))

// The device's own dot product of bytes, an intrinsic by its SPIR-V, which all compilers can do: OpSDot of packed words.
#ifdef VARIANT_DOT
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int dotBytes(uint a, uint b, spirv_literal int packedFormat);
#define DOT4_SS(a, b) uint(dotBytes(a, b, 0))
#endif

// What short sums of products are formed in: VECs, or in the variant packed vectors of as many halves, in the device's own
// arithmetic. The variant rounded computes the same in f32 by rounding each result, see README.md. HVEC_ROUNDS is defined in
// both. An HVEC_STORAGE is a scalar in a buffer, and HVEC_READ the lane that it is.
#ifdef VARIANT_PACKED
#define HVEC_ROUNDS
#define HVEC f16vec4
#define HVEC_STORAGE float16_t
#define HVEC_READ(buf, i) buf[i]
#define HVEC_FMA(a, b, c) fma(a, b, c)
#else
#define HVEC vec4
#define HVEC_STORAGE ELEM
#define HVEC_READ(buf, i) ELEM_LOAD(buf, i)
#ifdef VARIANT_ROUNDED
#define HVEC_ROUNDS
#define HVEC_FMA(a, b, c) ROUND_HALF(fma(a, b, c))
#else
#define HVEC_FMA(a, b, c) fma(a, b, c)
#endif
#endif
#define HVEC_OF(v) HVEC(v)
#define HVEC_FLOATS(h) vec4(h)
#define HVEC_SPLAT(x) HVEC(x)
#define HVEC_LANE(h, i) ((h)[i])
#define LOCAL_HVEC_LANE(h, i) ((h)[i])

// Scalars from wide loads: a QUAD is QUAD_WIDTH neighbouring floats, read one by one with QUAD_AT.
#define QUAD vec4
#define QUAD_WIDTH 4
#define QUAD_AT(q, i) ((q)[i])

// Rows: RW neighbouring results, in a body with a tunable RW, which is 1 here: work-items are lanes already.
#define ROW float
#define ROW_SPLAT(x) (x)
#define ROW_LANE(v, i) (v)
#define ROW_RAMP(x, step) float(x)
#define ROW_LOAD(buf, i, step, last) ELEM_LOAD(buf, clamp(i, 0, last))
#define ROW_LOAD_WITHIN(buf, i, step) ELEM_LOAD(buf, i)
#define ROW_STORE(buf, i, v, n) if ((n) > 0) { ELEM_STORE(buf, i, v); }
#define ROW_STORE_2(buf, i, a, b, n) { ROW_STORE(buf, i, a, n) ROW_STORE(buf, (i) + 1, b, (n) - 1) }
#define ROW_STORE_4(buf, i, a, b, c, d, n) { ROW_STORE_2(buf, i, a, b, n) ROW_STORE_2(buf, (i) + 2, c, d, (n) - 2) }
#define ROW_IS_NAN(v) IS_NAN(v)
#define ROW_DIV_EXACT(a, b) DIV_EXACT(a, b)

// Subgroups: this work-item's lane, and lane i's value of v, i a constant. Only kernels that use them need the device to
// have subgroup shuffles.
#define SUBGROUP_LANE() int(gl_SubgroupInvocationID)
#define SUBGROUP_SHUFFLE(v, i) subgroupShuffle(v, i)

// Arithmetic. PRECISE marks a variable whose value is computed as written: nothing fused, nothing reordered.
#define FMA(a, b, c) fma(a, b, c)
#define ABS(x) abs(x)
#define PRECISE precise
#define INFINITY_F uintBitsToFloat(0x7f800000u)
#define IS_NAN(x) ((floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u)
#define AS_UINT(x) floatBitsToUint(x)
#define AS_FLOAT(x) uintBitsToFloat(x)
#define TO_FLOAT(x) float(x)
#define TO_INT(x) int(x)
#define TO_UINT(x) uint(x)

// Work-items are lanes of vectors, and integer division of vectors goes lane by lane.
#define QUOTIENT(a, b) DIV_INT(a, b)

// The larger of buf[i] and v to buf[i], whatever other work-items do; buf holds ints.
#define ATOMIC_MAX(buf, i, v) atomicMax(buf[i], v)

// Loops.
#define UNROLL [[unroll]]
#define LOOP [[dont_unroll]]

// Words of Vulkan alone: matrices that the LANES work-items of a subgroup hold together, FM x FK and FK x FN of halves, FM x FN
// of floats, all tunables of the body. MAT_ELEM is a half in local memory, MAT_STORAGE one in a buffer. Matrices of floats come
// as arrays. The variant emulated does by itself what the hardware does in the variant matrix: a matrix of halves is where it
// lies in local memory, which nobody changes before it is multiplied, and each lane has every LANES-th float.
#ifdef VARIANT_MATRIX
#define MAT_ELEM float16_t
#define MAT_STORAGE float16_t
#define MAT_READ(buf, i) buf[i]
#define SUBGROUP_ID() int(gl_SubgroupID)
#define MAT_A(x) coopmat<float16_t, gl_ScopeSubgroup, FM, FK, gl_MatrixUseA> x
#define MAT_B(x) coopmat<float16_t, gl_ScopeSubgroup, FK, FN, gl_MatrixUseB> x
#define MAT_C(x, n) coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator> x[n]
#define MAT_CLEAR(x, f) x[f] = coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator>(0.0)
#define MAT_LOAD_A(x, buf, at, stride) coopMatLoad(x, buf, at, stride, gl_CooperativeMatrixLayoutColumnMajor)
#define MAT_LOAD_B(x, buf, at, stride) coopMatLoad(x, buf, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MAT_MUL_ADD(c, f, a, abuf, b, bbuf) c[f] = coopMatMulAdd(a, b, c[f])
#define MAT_STORE(c, f, buf, at, stride) coopMatStore(c[f], buf, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#endif
#ifdef VARIANT_EMULATED
#define MAT_ELEM float
#define MAT_STORAGE uint16_t
#define MAT_READ(buf, i) HALF_TO_FLOAT(uint(buf[i]))
#define SUBGROUP_ID() (int(gl_LocalInvocationID.x) / LANES)
#define MAT_LANE (int(gl_LocalInvocationID.x) % LANES)
#define MAT_EACH (FM * FN / LANES)
#define MAT_A(x) ivec2 x
#define MAT_B(x) ivec2 x
#define MAT_C(x, n) float x[(n) * MAT_EACH]
#define MAT_CLEAR(x, f) LOOP for (int e = 0; e < MAT_EACH; e++) { x[(f) * MAT_EACH + e] = 0.0; }
#define MAT_LOAD_A(x, buf, at, stride) x = ivec2(at, stride)
#define MAT_LOAD_B(x, buf, at, stride) x = ivec2(at, stride)
#define MAT_MUL_ADD(c, f, a, abuf, b, bbuf) \
    LOOP for (int e = 0; e < MAT_EACH; e++) { \
        int at = e * LANES + MAT_LANE; \
        float sum = c[(f) * MAT_EACH + e]; \
        UNROLL for (int r = 0; r < FK; r++) { \
            sum = fma(abuf[a.x + r * a.y + at / FN], bbuf[b.x + r * b.y + at % FN], sum); \
        } \
        c[(f) * MAT_EACH + e] = sum; \
    }
#define MAT_STORE(c, f, buf, to, stride) \
    LOOP for (int e = 0; e < MAT_EACH; e++) { \
        int at = e * LANES + MAT_LANE; \
        buf[(to) + at / FN * (stride) + at % FN] = c[(f) * MAT_EACH + e]; \
    }
#endif
