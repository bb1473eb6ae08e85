// Package tensorio reads and writes host tensors as files: NumPy arrays (.npy) and pictures (.png, .jpg, .jpeg). The
// extension decides, in either case. Whatever is read becomes f32.
//
// # NumPy arrays
//
// Float32 arrays are read as they are. Float64 and all integer types of up to 64 bits are converted to the nearest
// float32, ties to even: integers are exact up to 2^24, float64 beyond float32's range becomes an infinity. Either byte
// order and both C and Fortran order are read, the latter transposed, so that the tensor has the array's shape and
// elements. Files that numpy itself wrote in format version 1 or 2 are understood. What is written is little-endian
// float32 in C order, byte for byte what numpy.save writes.
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
