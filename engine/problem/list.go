package problem

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

const (
	maxIncludes = 32      // nesting of --batch inside lists
	maxLine     = 1 << 20 // bytes
)

// ReadList reads a benchdnn problem list from a file of fsys: white-space-separated problems, # comments to the end of
// the line, \ continues a line, --batch=FILE includes another list from the same folder or by its path. prefix, such
// as "pool:max:", is put before problems that have no operation of their own. The error of a bad problem names file
// and line.
func ReadList(fsys fs.FS, name, prefix string) ([]Problem, error) {
	return readList(fsys, name, prefix, 0)
}

func readList(fsys fs.FS, name, prefix string, depth int) ([]Problem, error) {
	if depth > maxIncludes {
		return nil, fmt.Errorf("%w: %s: --batch includes nest deeper than %d", ErrInvalid, name, maxIncludes)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Problem
	line := 0
	for in := bufio.NewReaderSize(f, maxLine); ; {
		text, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("%w: %s:%d: line of more than %d bytes", ErrInvalid, name, line+1, maxLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line++
		for _, token := range tokens(string(text)) {
			if include, ok := strings.CutPrefix(token, "--batch="); ok {
				more, err := readList(fsys, path.Join(path.Dir(name), include), prefix, depth+1)
				if err != nil {
					return nil, fmt.Errorf("%s:%d: %w", name, line, err)
				}
				list = append(list, more...)
				continue
			}
			if token == `\` {
				continue
			}
			if !hasOperation(token) {
				token = prefix + token
			}
			p, err := Parse(token)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, line, err)
			}
			list = append(list, p)
		}
		if err != nil {
			return list, nil
		}
	}
}

// tokens splits a line at white space up to a # that starts a token.
func tokens(line string) []string {
	fields := strings.Fields(line)
	for i, f := range fields {
		if strings.HasPrefix(f, "#") {
			return fields[:i]
		}
	}
	return fields
}

func hasOperation(token string) bool {
	for _, op := range []Op{Conv, Deconv, Pool} {
		if strings.HasPrefix(token, op.String()+":") {
			return true
		}
	}
	return false
}
