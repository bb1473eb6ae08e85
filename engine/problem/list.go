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
	maxDepth = 32      // nesting of --batch inside lists
	maxFiles = 1 << 12 // files that a list includes in all
	maxLine  = 1 << 20 // bytes
)

// ReadList reads a benchdnn problem list from a file of fsys: white-space-separated problems, # comments to the end of
// the line, \ at the end of a line joins the next to it, --batch=FILE includes another list by its path from the
// folder of this one. prefix, such as "pool:max:", is put before problems that have no operation of their own. The
// error of a bad problem names file and line.
func ReadList(fsys fs.FS, name, prefix string) ([]Problem, error) {
	r := listReader{fsys: fsys, prefix: prefix}
	if err := r.file(name, 0); err != nil {
		return nil, err
	}
	return r.list, nil
}

type listReader struct {
	fsys   fs.FS
	prefix string
	list   []Problem
	files  int
}

func (r *listReader) file(name string, depth int) error {
	if r.files++; depth > maxDepth || r.files > maxFiles {
		return fmt.Errorf("%w: %s: --batch includes nest deeper than %d or are more than %d", ErrInvalid, name, maxDepth, maxFiles)
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	joined := "" // lines that ended in a backslash
	line := 0
	for in := bufio.NewReaderSize(f, maxLine); ; {
		read, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", name, err)
		}
		last := errors.Is(err, io.EOF)
		line++
		text := joined + strings.TrimRight(string(read), "\r\n")
		joined = ""
		if err != nil && !last || len(text) > maxLine {
			return fmt.Errorf("%w: %s:%d: line of more than %d bytes", ErrInvalid, name, line, maxLine)
		}
		code := uncomment(text)
		if more, ok := strings.CutSuffix(code, `\`); ok && code == text {
			if code = more; !last {
				joined = more
				continue
			}
		}
		for _, token := range strings.Fields(code) {
			if err := r.token(name, token, depth); err != nil {
				return fmt.Errorf("%s:%d: %w", name, line, err)
			}
		}
		if last {
			return nil
		}
	}
}

func (r *listReader) token(name, token string, depth int) error {
	if include, ok := strings.CutPrefix(token, "--batch="); ok {
		return r.file(path.Join(path.Dir(name), include), depth+1)
	}
	if !hasOperation(token) {
		token = r.prefix + token
	}
	p, err := Parse(token)
	if err != nil {
		return err
	}
	r.list = append(r.list, p)
	return nil
}

// uncomment cuts a line at a # that starts a token.
func uncomment(line string) string {
	for i := 0; i < len(line); i++ {
		if line[i] == '#' && (i == 0 || strings.IndexByte(" \t\v\f\r", line[i-1]) >= 0) {
			return line[:i]
		}
	}
	return line
}

func hasOperation(token string) bool {
	word, _, found := strings.Cut(token, ":")
	_, err := Lookup[Op](word)
	return found && err == nil
}
