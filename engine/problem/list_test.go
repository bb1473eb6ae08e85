package problem

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestReadList(t *testing.T) {
	files := fstest.MapFS{
		"lists/all":     {Data: []byte("# all of them\n--batch=one\n  --batch=sub/two # and more\nic1oc1ih3kh1\r\n")},
		"lists/one":     {Data: []byte("ic1oc1ih4kh1 ic1oc1ih5kh1n\"a#b\"\n\n\t# ic1oc1ih9kh1 \\\nic1oc1ih6kh1 # --batch=none\n")},
		"lists/sub/two": {Data: []byte("ic1oc1 \\\n_ih7kh1\n")},
		"pools":         {Data: []byte("ic1ih3kh1 pool:avg_np:ic1ih4kh1 conv:ic1oc1ih5kh1")},
		"joined":        {Data: []byte("ic1oc1\\\nih3\\\r\nkh1\\")},
		"empty":         {Data: []byte("\n # nothing")},
	}
	// A space before the backslash ends the token, as in a shell.
	if _, err := ReadList(files, "lists/sub/two", ""); err == nil {
		t.Error("a problem cut in two by a space was read")
	}
	files["lists/sub/two"] = &fstest.MapFile{Data: []byte("ic1oc1ih7kh1 \\\n ic1oc1ih8kh1\n")}
	for _, c := range []struct{ name, prefix, want string }{
		{"lists/all", "", "conv4 conv5 conv6 conv7 conv8 conv3"},
		{"pools", "pool:max:", "pool3 pool4 conv5"},
		{"joined", "", "conv3"},
		{"joined", "deconv:", "deconv3"},
		{"empty", "", ""},
	} {
		list, err := ReadList(files, c.name, c.prefix)
		var got []string
		for _, p := range list {
			got = append(got, fmt.Sprintf("%v%d", p.Op, p.Axes[1].In))
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v, not %s", c.name, got, err, c.want)
		}
	}
}

func TestReadListErrors(t *testing.T) {
	files := fstest.MapFS{
		"bad":   {Data: []byte("# line 1\nic1oc1ih3kh1\nic1oc1ih3kh1 ic1oc1ih3kh4\n")},
		"outer": {Data: []byte("\n--batch=bad")},
		"self":  {Data: []byte("--batch=self --batch=self")},
		"long":  {Data: []byte("#" + strings.Repeat("x", maxLine+1))},
		"gone":  {Data: []byte("--batch=nowhere")},
		"out":   {Data: []byte("--batch=../../etc/passwd")},
		"wide":  {Data: []byte(strings.Repeat("--batch=empty ", maxFiles))},
		"empty": {},
	}
	for _, c := range []struct {
		name string
		is   error
		want string
	}{
		{"bad", ErrInvalid, "bad:3: problem \"ic1oc1ih3kh4\""},
		{"outer", ErrInvalid, "outer:2: bad:3:"},
		{"self", ErrInvalid, "nest deeper"},
		{"wide", ErrInvalid, "or are more than"},
		{"long", ErrInvalid, "long:1: line of more than"},
		{"gone", fs.ErrNotExist, "gone:1:"},
		{"out", fs.ErrNotExist, "out:1:"},
		{"absent", fs.ErrNotExist, "absent"},
	} {
		list, err := ReadList(files, c.name, "")
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %v, not %q; %d problems", c.name, err, c.want, len(list))
		}
	}
}
