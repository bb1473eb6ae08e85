package tensorio

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
)

func encodePNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// paint makes a picture of 2 × 1 pixels.
func paint[I interface {
	image.Image
	Set(x, y int, c color.Color)
}](img I, a, b color.Color) I {
	img.Set(0, 0, a)
	img.Set(1, 0, b)
	return img
}

func TestPictureTypes(t *testing.T) {
	r := image.Rect(0, 0, 2, 1)
	clear := color.NRGBA{10, 20, 30, 0}
	half := color.NRGBA{201, 101, 1, 128}
	solid := color.NRGBA{255, 0, 7, 255}
	for name, c := range map[string]struct {
		img      image.Image
		channels int
		want     []float32
	}{
		"grey":        {paint(image.NewGray(r), color.Gray{7}, color.Gray{255}), 1, []float32{7, 255}},
		"grey 16":     {paint(image.NewGray16(r), color.Gray16{257 * 9}, color.Gray16{65535}), 1, []float32{9, 255}},
		"grey 16 odd": {paint(image.NewGray16(r), color.Gray16{1}, color.Gray16{128}), 1, []float32{1. / 257, 128. / 257}},
		"colour":      {paint(image.NewRGBA(r), solid, solid), 3, []float32{255, 255, 0, 0, 7, 7}},
		"alpha":       {paint(image.NewNRGBA(r), clear, half), 3, []float32{10, 201, 20, 101, 30, 1}},
		"alpha 16": {paint(image.NewNRGBA64(r), color.NRGBA64{257, 514, 771, 0}, color.NRGBA64{65535, 1, 0, 9}), 3,
			[]float32{1, 255, 2, 1. / 257, 3, 0}},
		"palette": {paint(image.NewPaletted(r, color.Palette{half, solid}), half, solid), 3, []float32{201, 255, 101, 0, 1, 7}},
		"clear palette": {&image.Paletted{Pix: []byte{1, 0}, Stride: 2, Rect: r, Palette: color.Palette{solid, clear}}, 3,
			[]float32{10, 255, 20, 0, 30, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readPicture(bytes.NewReader(encodePNG(t, c.img)), PNG, MaxPixels)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.want, 1, c.channels, 1, 2)
		})
	}
}

// JPEG's colours come out as the whole numbers that the file holds.
func TestJPEGIsWholeNumbers(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * 37)
	}
	got, err := readPicture(bytes.NewReader(encodeJPEG(t, img)), JPEG, MaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Shape(), []int{1, 3, 16, 16}) {
		t.Errorf("shape %v", got.Shape())
	}
	for i, v := range got.Float32s() {
		if v != float32(uint8(v)) {
			t.Fatalf("element %d is %g", i, v)
		}
	}
	grey, err := readPicture(bytes.NewReader(encodeJPEG(t, image.NewGray(image.Rect(0, 0, 3, 2)))), JPEG, MaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	same(t, grey, make([]float32, 6), 1, 1, 2, 3)
}

// A picture whose bounds do not start at 0 has its pixels in place.
func TestShiftedBounds(t *testing.T) {
	whole := image.NewYCbCr(image.Rect(0, 0, 8, 8), image.YCbCrSubsampleRatio420)
	for i := range whole.Y {
		whole.Y[i] = uint8(i)
	}
	for i := range whole.Cb {
		whole.Cb[i], whole.Cr[i] = 128, 128
	}
	got, err := fromImage(whole.SubImage(image.Rect(2, 4, 4, 5)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []float32{34, 35, 34, 35, 34, 35}, 1, 3, 1, 2)
}

func TestPictureRoundTrip(t *testing.T) {
	for _, shape := range [][]int{{1, 3, 5, 7}, {3, 5, 7}, {1, 1, 5, 7}, {1, 5, 7}, {5, 7}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(uint8(i * 53))
		}
		src := tensor(t, data, shape...)
		var a, b bytes.Buffer
		for _, w := range []*bytes.Buffer{&a, &b} {
			if err := writePicture(w, PNG, src, Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("shape %v: the same tensor makes different files", shape)
		}
		got, err := readPicture(bytes.NewReader(a.Bytes()), PNG, MaxPixels)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, data, 1, n/35, 5, 7)
	}
}

func TestMappings(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		m    Mapping
		in   []float32
		want []float32
	}{
		{Clamp, []float32{-3, 0.5, 1.5, 2.5, 2.50001, 254.5, 255.4, 1e30, inf, -inf, nan}, []float32{0, 0, 2, 2, 3, 254, 255, 255, 255, 0, 0}},
		{Abs, []float32{-3, 3, -254.6, -inf, nan, -1e9}, []float32{3, 3, 255, 255, 0, 255}},
		{Scale, []float32{-1, 0, 1, 0.5, inf, -inf, nan}, []float32{0, 128, 255, 191, 255, 0, 0}},
		{Scale, []float32{4, 4, nan}, []float32{0, 0, 0}},
		{Scale, []float32{nan, inf}, []float32{0, 0}},
		{Scale, []float32{-math.MaxFloat32, math.MaxFloat32}, []float32{0, 255}},
	} {
		var b bytes.Buffer
		if err := writePicture(&b, PNG, tensor(t, c.in, 1, len(c.in)), Options{Mapping: c.m}); err != nil {
			t.Fatal(err)
		}
		got, err := readPicture(bytes.NewReader(b.Bytes()), PNG, MaxPixels)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Float32s(), c.want) {
			t.Errorf("%v of %v: %v; want %v", c.m, c.in, got.Float32s(), c.want)
		}
	}
}

// sized is a PNG file of a header alone that promises a size.
func sized(width, height uint32) []byte {
	ihdr := []byte("IHDR")
	ihdr = binary.BigEndian.AppendUint32(ihdr, width)
	ihdr = binary.BigEndian.AppendUint32(ihdr, height)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	file = append(file, ihdr...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(ihdr))
}

func TestPictureHostile(t *testing.T) {
	good := encodePNG(t, image.NewRGBA(image.Rect(0, 0, 30, 20)))
	photo := encodeJPEG(t, image.NewRGBA(image.Rect(0, 0, 30, 20)))
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 0xff
	for name, c := range map[string]struct {
		format Format
		file   []byte
	}{
		"empty PNG":        {PNG, nil},
		"empty JPEG":       {JPEG, nil},
		"JPEG as PNG":      {PNG, photo},
		"PNG as JPEG":      {JPEG, good},
		"PNG cut":          {PNG, good[:len(good)-20]},
		"PNG header alone": {PNG, sized(10, 10)},
		"PNG damaged":      {PNG, flipped},
		"PNG too large":    {PNG, sized(1<<14, 1<<14+1)},
		"PNG huge":         {PNG, sized(1<<31-1, 1<<31-1)},
		"PNG of 0 pixels":  {PNG, sized(0, 5)},
		"JPEG cut":         {JPEG, photo[:len(photo)-40]},
		"text":             {JPEG, []byte("no picture\nat all")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readPicture(bytes.NewReader(c.file), c.format, MaxPixels)
			oneLine(t, err, ErrFormat)
		})
	}
}

func fuzzPicture(f *testing.F, format Format, encode func(testing.TB, image.Image) []byte) {
	r := image.Rect(0, 0, 9, 5)
	for _, img := range []image.Image{image.NewGray(r), image.NewGray16(r), image.NewRGBA(r), image.NewNRGBA64(r),
		image.NewPaletted(r, color.Palette{color.NRGBA{1, 2, 3, 4}, color.White})} {
		f.Add(encode(f, img))
	}
	f.Add(sized(70000, 70000))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := readPicture(bytes.NewReader(file), format, 1<<16)
		if err != nil {
			oneLine(t, err, ErrFormat)
			return
		}
		for i, v := range got.Float32s() {
			if !(v >= 0 && v <= 255) {
				t.Fatalf("element %d is %g", i, v)
			}
		}
		var b bytes.Buffer
		if err := writePicture(&b, format, got, Options{}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzPNG(f *testing.F)  { fuzzPicture(f, PNG, encodePNG) }
func FuzzJPEG(f *testing.F) { fuzzPicture(f, JPEG, encodeJPEG) }

func BenchmarkReadPicture(b *testing.B) {
	file := encodeJPEG(b, image.NewRGBA(image.Rect(0, 0, 1024, 1024)))
	var t *engine.Tensor
	for b.Loop() {
		t, _ = readPicture(bytes.NewReader(file), JPEG, MaxPixels)
	}
	if t == nil {
		b.Fatal("not read")
	}
}
