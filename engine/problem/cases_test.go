package problem

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The public cases (oneDNN's problem lists, and golden files whose numbers come from other software) are read where they
// lie: in the folder GONVOLVE_CASES, or in shared/cases beside the repository. These few lines of them are always
// checked.
const (
	inlineList = `# a few of oneDNN's, with its comments
mb2ic3ih227iw227oc96oh55ow55kh11kw11sh4sw4ph0pw0n"alexnet:conv1"
g2mb2ic96ih27iw27oc256oh27ow27kh5kw5sh1sw1ph2pw2n"alexnet:conv2" # strided
g6_ic24oc24_iw11kw3_n"1d_gconv_channel-block-4"
`
	inlineConv = `file,mb_used,note,ndims,g,ic,oc,id,ih,iw,od,oh,ow,kd,kh,kw,sd,sh,sw,pd,ph,pw,pd_r,ph_r,pw_r,dd,dh,dw,desc
shapes_1d,2,,3,6,24,24,1,1,11,1,1,9,1,1,3,1,1,1,0,0,0,0,0,0,0,0,0,"g6_ic24oc24_iw11kw3_n""1d_gconv_channel-block-4"""
shapes_1d,1,,3,1,32,32,1,1,100,1,1,99,1,1,2,1,1,1,0,0,0,0,0,0,0,0,0,"mb1ic32iw100oc32kw2pw0sw1n""conv1d:10"""
`
	inlineDeconv = `file,mb_used,note,ndims,g,ic,oc,id,ih,iw,od,oh,ow,kd,kh,kw,sd,sh,sw,pd,ph,pw,pd_r,ph_r,pw_r,dd,dh,dw,desc
shapes_1d,2,,3,1,96,3,1,1,55,1,1,227,1,1,11,1,1,4,0,0,0,0,0,0,0,0,0,"g1mb256oc3ow227ic96iw55kw11sw4pw0n""alexnet:deconv1"""
`
	inlinePool = `file,mb_used,note,ndims,g,ic,oc,id,ih,iw,od,oh,ow,kd,kh,kw,sd,sh,sw,pd,ph,pw,pd_r,ph_r,pw_r,dd,dh,dw,desc
shapes_1d,2,,3,1,64,64,1,1,32,1,1,16,1,1,3,1,1,2,0,0,0,0,0,1,0,0,0,mb16ic64_iw32ow16_kw3sw2
shapes_1d,2,,3,1,17,17,1,1,60,1,1,31,1,1,3,1,1,2,0,0,1,0,0,2,0,0,0,mb4ic17_iw60_ow31_kw3_sw2_pw1pw1
`
)

// cases is the folder of the public cases, or "".
func cases(t *testing.T) string {
	dir := os.Getenv("GONVOLVE_CASES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "cases")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("GONVOLVE_CASES") != "" {
			t.Fatalf("GONVOLVE_CASES: %v", err)
		}
		t.Log("no folder of public cases: only those in this file are checked (GONVOLVE_CASES names one)")
		return ""
	}
	return dir
}

var (
	comment    = regexp.MustCompile(`(?m)(^|\s)#.*$`)
	descriptor = regexp.MustCompile(`\S+`)
)

func TestPublicLists(t *testing.T) {
	type list struct{ op, name, text string }
	lists := []list{{"conv", "inline", inlineList}}
	if dir := cases(t); dir != "" {
		for _, op := range []string{"conv", "deconv", "pool"} {
			files, err := filepath.Glob(filepath.Join(dir, "benchdnn", op, "shapes_*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%d lists for %s in %s, %v", len(files), op, dir, err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				lists = append(lists, list{op, filepath.Base(f), string(text)})
			}
		}
	}
	total := 0
	for _, l := range lists {
		prefix := l.op + ":"
		if l.op == "pool" {
			prefix += "max:"
		}
		got, err := ReadList(fstest.MapFS{l.name: {Data: []byte(l.text)}}, l.name, prefix)
		if err != nil {
			t.Error(err)
			continue
		}
		want := descriptor.FindAllString(comment.ReplaceAllString(l.text, ""), -1)
		if len(got) != len(want) || len(got) == 0 {
			t.Errorf("%s/%s: %d problems read, the file holds %d", l.op, l.name, len(got), len(want))
		}
		total += len(got)
		for i := range got {
			if back, err := Parse(got[i].String()); err != nil || back != got[i] {
				t.Errorf("%s/%s: %s reads as %s, %v", l.op, l.name, got[i].String(), back.String(), err)
			}
		}
	}
	t.Logf("%d problems in %d lists", total, len(lists))
}

func TestGolden(t *testing.T) {
	check := func(name, prefix string, data []byte) {
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		column := map[string]int{}
		for i, head := range rows[0] {
			column[head] = i
		}
		for i, row := range rows[1:] {
			p, err := Parse(prefix + row[column["desc"]])
			if err != nil {
				t.Errorf("%s row %d: %v", name, i+2, err)
				continue
			}
			want := func(key string) int {
				at, ok := column[key]
				v, err := strconv.Atoi(row[at])
				if !ok || err != nil {
					t.Fatalf("%s row %d: column %s: %v", name, i+2, key, err)
				}
				return v
			}
			compare := func(key string, got int) {
				if got != want(key) {
					t.Errorf("%s row %d, %s: %s is %d, not %d", name, i+2, row[column["desc"]], key, got, want(key))
				}
			}
			compare("ndims", p.Rank+2)
			compare("g", p.Groups)
			compare("ic", p.IC)
			compare("oc", p.OC)
			for j, a := range p.Axes {
				l := "dhw"[j : j+1]
				compare("i"+l, a.In)
				compare("o"+l, a.Out)
				compare("k"+l, a.Kernel)
				compare("s"+l, a.Stride)
				compare("p"+l, a.PadL)
				compare("p"+l+"_r", a.PadR)
				compare("d"+l, a.Dilation-1)
			}
		}
		t.Logf("%s: %d rows", name, len(rows)-1)
	}
	inline := map[string]string{"dev_conv": inlineConv, "dev_deconv": inlineDeconv, "dev_pool": inlinePool}
	dir := cases(t)
	for name, text := range inline {
		prefix := strings.TrimPrefix(name, "dev_") + ":"
		if name == "dev_pool" {
			prefix += "max:"
		}
		check("inline "+name, prefix, []byte(text))
		if dir == "" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, "golden", name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		check(name, prefix, data)
	}
}
