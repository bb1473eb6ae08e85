// Package problemtest helps tests of all packages that take problems.
package problemtest

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Parse is problem.Parse of a text that is right.
func Parse(t testing.TB, text string) problem.Problem {
	t.Helper()
	p, err := problem.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
