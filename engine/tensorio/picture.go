package tensorio

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// codec of a picture format.
type codec struct {
	name   string
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

var codecs = map[Format]codec{
	PNG:  {"PNG", png.DecodeConfig, png.Decode},
	JPEG: {"JPEG", jpeg.DecodeConfig, jpeg.Decode},
}

// readPicture reads a picture of at most so many pixels.
func readPicture(r io.ReadSeeker, format Format, maxPixels int) (*engine.Tensor, error) {
	c := codecs[format]
	conf, err := c.config(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("%w: not a %s picture that can be decoded (%w); the extension must tell the format", ErrFormat, c.name, err)
	}
	if conf.Width < 1 || conf.Height < 1 || conf.Width > maxPixels/conf.Height {
		return nil, fmt.Errorf("%w: a picture of %d × %d pixels; 1 to %d are possible: cut it into parts", ErrFormat, conf.Width, conf.Height, maxPixels)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, err := c.decode(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("%w: damaged %s picture (%w); copy or convert it again", ErrFormat, c.name, err)
	}
	return fromImage(img)
}

// fromImage spreads a picture's channels into planes.
func fromImage(img image.Image) (*engine.Tensor, error) {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	channels := 3
	switch img.(type) {
	case *image.Gray, *image.Gray16:
		channels = 1
	}
	t, err := engine.NewTensor(problem.F32, 1, channels, h, w)
	if err != nil {
		return nil, err
	}
	plane := func(c int) []float32 { return t.Float32s()[c*w*h:][:w*h] }
	if channels == 1 {
		grey := plane(0)
		for i := range grey {
			x, y := b.Min.X+i%w, b.Min.Y+i/w
			switch m := img.(type) {
			case *image.Gray:
				grey[i] = float32(m.GrayAt(x, y).Y)
			case *image.Gray16:
				grey[i] = deep(m.Gray16At(x, y).Y)
			}
		}
		return t, nil
	}
	at := colours(img)
	red, green, blue := plane(0), plane(1), plane(2)
	for i := range red {
		red[i], green[i], blue[i] = at(b.Min.X+i%w, b.Min.Y+i/w)
	}
	return t, nil
}

// deep brings a 16-bit sample to 0 to 255.
func deep(v uint16) float32 { return float32(v) / 257 }

// shallow widens 8-bit samples.
func shallow(r, g, b uint8) (float32, float32, float32) { return float32(r), float32(g), float32(b) }

// colours reads a colour picture's pixels, without boxing each for the types that most files have.
func colours(img image.Image) func(x, y int) (r, g, b float32) {
	switch m := img.(type) {
	case *image.RGBA:
		return func(x, y int) (r, g, b float32) {
			p := m.Pix[m.PixOffset(x, y):]
			return shallow(p[0], p[1], p[2])
		}
	case *image.NRGBA:
		return func(x, y int) (r, g, b float32) {
			p := m.Pix[m.PixOffset(x, y):]
			return shallow(p[0], p[1], p[2])
		}
	case *image.YCbCr:
		return func(x, y int) (r, g, b float32) {
			c := m.YCbCrAt(x, y)
			return shallow(color.YCbCrToRGB(c.Y, c.Cb, c.Cr))
		}
	}
	return func(x, y int) (r, g, b float32) { return straight(img.At(x, y)) }
}

// straight is a colour without its alpha. The models of package color would multiply by it, and widen what has 8 bits.
// Decoders make premultiplied colours only of opaque pixels.
func straight(c color.Color) (r, g, b float32) {
	switch c := c.(type) {
	case color.CMYK:
		return shallow(color.CMYKToRGB(c.C, c.M, c.Y, c.K))
	case color.RGBA:
		return shallow(c.R, c.G, c.B)
	case color.NRGBA:
		return shallow(c.R, c.G, c.B)
	case color.NRGBA64:
		return deep(c.R), deep(c.G), deep(c.B)
	}
	wide := color.NRGBA64Model.Convert(c).(color.NRGBA64)
	return deep(wide.R), deep(wide.G), deep(wide.B)
}

// pictureSize is the size of the picture that a tensor of the shape can be written as.
func pictureSize(format Format, shape []int) (c, h, w int, err error) {
	c = 1
	switch n := len(shape); {
	case n == 2:
		h, w = shape[0], shape[1]
	case n == 3:
		c, h, w = shape[0], shape[1], shape[2]
	case n == 4 && shape[0] == 1:
		c, h, w = shape[1], shape[2], shape[3]
	default:
		return 0, 0, 0, fmt.Errorf("%w: shape %v is no single picture [1, C, H, W], [C, H, W] or [H, W]; write it to a .npy file", ErrFormat, shape)
	}
	if c != 1 && c != 3 {
		return 0, 0, 0, fmt.Errorf("%w: %d channels; a picture has 1 (grey) or 3 (colour): write it to a .npy file", ErrFormat, c)
	}
	if h < 1 || w < 1 || w > MaxPixels/h {
		return 0, 0, 0, fmt.Errorf("%w: a picture of %d × %d pixels; 1 to %d are possible: write it to a .npy file", ErrFormat, w, h, MaxPixels)
	}
	if format == JPEG && max(h, w) > math.MaxUint16 {
		return 0, 0, 0, fmt.Errorf("%w: a JPEG picture has at most 65535 pixels a side, not %d × %d: write it to a .png file", ErrFormat, w, h)
	}
	return c, h, w, nil
}

// writePicture encodes a tensor.
func writePicture(out io.Writer, format Format, t *engine.Tensor, o Options) error {
	c, h, w, err := pictureSize(format, t.Shape())
	if err != nil {
		return err
	}
	img := toImage(t.Widen(), c, h, w, o.Mapping)
	if format == PNG {
		return png.Encode(out, img)
	}
	quality := o.JPEGQuality
	if quality == 0 {
		quality = 95
	}
	return jpeg.Encode(out, img, &jpeg.Options{Quality: quality})
}

// toImage rounds planes to 8-bit samples.
func toImage(data []float32, c, h, w int, m Mapping) image.Image {
	level := levels(data, m)
	if c == 1 {
		img := image.NewGray(image.Rect(0, 0, w, h))
		for i, v := range data {
			img.Pix[i] = level(v)
		}
		return img
	}
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	n := w * h
	for i := range n {
		p := img.Pix[4*i:][:4]
		p[0], p[1], p[2], p[3] = level(data[i]), level(data[n+i]), level(data[2*n+i]), 255
	}
	return img
}

// levels is the mapping of the data's values to samples.
func levels(data []float32, m Mapping) func(float32) uint8 {
	switch m {
	case Abs:
		return func(v float32) uint8 { return sample(math.Abs(float64(v))) }
	case Scale:
		least, most := math.Inf(1), math.Inf(-1)
		for _, v := range data {
			if v := float64(v); !math.IsInf(v, 0) && !math.IsNaN(v) {
				least, most = min(least, v), max(most, v)
			}
		}
		if least >= most {
			return func(float32) uint8 { return 0 }
		}
		return func(v float32) uint8 { return sample((float64(v) - least) * 255 / (most - least)) }
	}
	return func(v float32) uint8 { return sample(float64(v)) }
}

// sample clamps and rounds, halves to even.
func sample(v float64) uint8 {
	switch {
	case !(v > 0): // NaN too
		return 0
	case v >= 255:
		return 255
	}
	return uint8(math.RoundToEven(v))
}
