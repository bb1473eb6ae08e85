// Package tensorio reads and writes host tensors as files: NumPy arrays (.npy) and pictures (.png, .jpg, .jpeg). The
// extension decides, in either case. What is read becomes f32, or the type that is asked for.
//
// # NumPy arrays
//
// Bool, float16 to float64 and all integer types of up to 64 bits are read, as any type of tensor. f32 and f16 take the
// nearest number, ties to even: integers are exact up to 2^24 (f16: 2^11), what is beyond the range becomes an infinity.
// Integer tensors take the file's numbers or refuse the file. Either byte order and both C and Fortran order are read,
// the latter transposed, so that the tensor has the array's shape and elements. Files that numpy itself wrote in format
// version 1 or 2 are understood. Tensors of all types are written, little-endian in C order, byte for byte what
// numpy.save writes.
//
// # Pictures
//
// A picture is a tensor [1, C, H, W] with values 0 to 255: C = 1 for grey pictures, C = 3 (red, green, blue) for all
// others, palettes included. 8-bit samples are exact integers; 16-bit samples are divided by 257, so that white is 255
// as well. Alpha is dropped: a pixel has its stored colour however transparent it is. EXIF orientation is not applied.
//
// A tensor [1, C, H, W], [C, H, W] or [H, W] with C = 1 or 3 can be written as a picture of 8-bit samples: a [Mapping]
// brings its values into 0 to 255, they are clamped to that range, NaN becomes 0, and then rounded, halves to even. The
// same tensor always makes the same file.
//
// # Hostile files
//
// What a file promises is checked against its size, and the size of a picture against [MaxPixels], before memory is
// taken for it. Every error about a file's contents wraps [ErrFormat], is one line and names the way out.
package tensorio
