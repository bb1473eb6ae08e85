package cpu

import (
	"fmt"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// winogradGrid is the problems: channels, and maps of which tiles cover the edges well or badly, of one image and of several.
func winogradGrid() (texts []string) {
	for _, c := range [][2]int{{3, 64}, {8, 8}, {16, 16}, {16, 64}, {64, 16}, {32, 32}, {64, 64}, {128, 128}, {256, 256}, {512, 512}} {
		for _, size := range []int{4, 7, 8, 13, 14, 28, 56, 112, 224} {
			elems := max(c[0], c[1]) * size * size
			if elems > 64*224*224 || c[0]*c[1]*size*size > 256*256*56*56 {
				continue
			}
			texts = append(texts, fmt.Sprintf("mb1ic%dih%doc%dkh3ph1", c[0], size, c[1]))
			if elems <= 64*28*28 {
				texts = append(texts, fmt.Sprintf("mb16ic%dih%doc%dkh3ph1", c[0], size, c[1]))
			}
		}
	}
	return texts
}

// The model's choice between the implicit product and Winograd's sizes.
func TestWinogradChoice(t *testing.T) {
	g := choiceGrid{name: "winograd", ways: []string{"igemm", "winograd m=2", "winograd m=4", "winograd m=6"},
		problems: winogradGrid(), most: 6e7, choose: func(isa simd.ISA, p *problem.Problem) string {
			if !worthTransforming(isa, p, choiceProcessors) {
				return "igemm"
			}
			m, _ := bestSize(isa, p, choiceProcessors)
			return "winograd " + sizeText(m)
		}}
	g.test(t, 1.05, 2)
}

// Of an empty batch there is nothing to choose by, and a choice nevertheless.
func TestWinogradChoiceOfNothing(t *testing.T) {
	p := problemtest.Parse(t, "mb0ic64ih14oc64kh3ph1")
	for _, isa := range simd.Supported() {
		if m, ns := bestSize(isa, &p, choiceProcessors); m == 0 || !(ns >= 0) {
			t.Errorf("%s: m=%d, %v ns", isa, m, ns)
		}
	}
}
