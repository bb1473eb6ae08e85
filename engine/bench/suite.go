package bench

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// DefaultSuite is what a benchmark runs when nothing is named.
const DefaultSuite = "default"

//go:embed suites/*.txt
var suites embed.FS

// Suites lists the built-in problem lists.
func Suites() []string {
	files, _ := fs.Glob(suites, "suites/*.txt") // its only error is a bad pattern
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "suites/"), ".txt")
	}
	return files
}

// Suite reads a built-in problem list.
func Suite(name string) ([]problem.Problem, error) {
	list, err := problem.ReadList(suites, "suites/"+name+".txt", "")
	if err != nil {
		return nil, fmt.Errorf("%w: suite %q; there are %s", driver.ErrInvalid, name, strings.Join(Suites(), ", "))
	}
	return list, nil
}
