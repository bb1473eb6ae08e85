package shaders

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// SourceError is what a compiler found wrong in a kernel's source. It wraps ErrKernel.
type SourceError struct {
	File         string // prelude, common.inc or body; a changed one with its folder
	Line, Column int    // from 1; 0 where the compiler does not say
	Text         string // the compiler's words
	More         int    // errors beside the first
}

func (e *SourceError) Error() string {
	at := e.File
	for _, n := range []int{e.Line, e.Column} {
		if n > 0 {
			at += ":" + strconv.Itoa(n)
		}
	}
	at += ": " + e.Text
	if e.More > 0 {
		at += fmt.Sprintf(" (and %d more)", e.More)
	}
	return at
}

// Unwrap implements errors.
func (e *SourceError) Unwrap() error { return ErrKernel }

// places say which file and line a line of an assembled source comes from: the last lines are the body's, those before
// it common.inc's, the rest the prelude's.
type places struct {
	prelude, common, body      string // files
	commonFrom, bodyFrom, last int    // the line before the first of each, from 1; the last line of all
}

func (s *Set) places(source, prelude, common, bodyFile, body string) places {
	lines := func(text string) int { return strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1 }
	last := lines(source)
	p := places{prelude: s.path(prelude), common: s.path("common.inc"), body: s.path(bodyFile), last: last, bodyFrom: last - lines(body)}
	p.commonFrom = p.bodyFrom - strings.Count(common+"\n", "\n")
	return p
}

// path is where a file of the set is found.
func (s *Set) path(file string) string {
	for _, c := range s.changed {
		if c == file {
			return filepath.Join(s.dir, file)
		}
	}
	return file
}

// of finds a line.
func (p *places) of(line int) (file string, n int) {
	switch {
	case line > p.last || line < 1:
		return p.body, 0
	case line > p.bodyFrom:
		return p.body, line - p.bodyFrom
	case line > p.commonFrom:
		return p.common, line - p.commonFrom
	}
	return p.prelude, line
}

// Errors as compilers write them: FILE:LINE:COLUMN: error: TEXT, FILE:LINE: error: TEXT, error: FILE:LINE:COLUMN: TEXT, and
// in macros error: FILE:LINE:COLUMN <Spelling=FILE:LINE:COLUMN>: TEXT.
var (
	errorAfter  = regexp.MustCompile(`(?i)^[^:]*:(\d+):(?:(\d+)(?: <[^>]*>)?:)?\s*(?:fatal )?error:?\s*(.*)$`)
	errorBefore = regexp.MustCompile(`(?i)^(?:fatal )?error:\s*[^:]*:(\d+):(?:(\d+)(?: <[^>]*>)?:)?\s*(.*)$`)
)

// locate reads a compiler's log.
func (p *places) locate(tool, log string) *SourceError {
	var first *SourceError
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		m := errorAfter.FindStringSubmatch(line)
		if m == nil {
			m = errorBefore.FindStringSubmatch(line)
		}
		switch {
		case m == nil:
		case first != nil:
			first.More++
		default:
			n, _ := strconv.Atoi(m[1]) // digits; too many are no line
			first = &SourceError{Text: m[3]}
			first.File, first.Line = p.of(n)
			if first.Line > 0 {
				first.Column, _ = strconv.Atoi(m[2])
			}
		}
	}
	if first != nil {
		return first
	}
	return &SourceError{File: p.body, Text: tool + ": " + summary(log)}
}

// summary is the first line of a log that has an error in it, else its first line.
func summary(log string) string {
	first := ""
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.Contains(strings.ToLower(line), "error") {
			return line
		}
		if first == "" {
			first = line
		}
	}
	if first == "" {
		return "the compiler gave no reason"
	}
	return first
}

// Explain finds what the log of an OpenCL C compiler says in the kernel's files.
func (k *Kernel) Explain(log string) *SourceError {
	at := k.cl
	if at.body == "" { // of no set
		at.body = k.Name
	}
	return at.locate("compiler", log)
}
