package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/gonvolve/gonvolve/engine/report"
)

// output is where and how a command prints its results.
type output struct {
	format string
	file   string
}

// outputFlags adds --format and -o.
func outputFlags(cmd *cobra.Command) *output {
	o := &output{}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, json (one object a line), csv or markdown")
	cmd.Flags().StringVarP(&o.file, "output", "o", "", "write the results to a `file` instead of standard output")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(report.Formats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return o
}

// check refuses an unknown format before any work is done.
func (o *output) check() error {
	if !slices.Contains(report.Formats, o.format) {
		return fmt.Errorf("%w (not %q)", report.ErrFormat, o.format)
	}
	return nil
}

// terminal returns the file behind a writer if it is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// write calls print with the place for the results.
func (o *output) write(cmd *cobra.Command, print func(w io.Writer, width int, colour bool) error) (err error) {
	if o.file == "" {
		w := cmd.OutOrStdout()
		width, colour := 0, false
		if f, ok := terminal(w); ok {
			width, _, _ = term.GetSize(int(f.Fd()))
			colour = os.Getenv("NO_COLOR") == ""
		}
		return print(w, width, colour)
	}
	f, err := os.Create(o.file)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return print(f, 0, false)
}

// records prints a list of results.
func (o *output) records(cmd *cobra.Command, records []report.Record, columns []report.Column) error {
	return o.write(cmd, func(w io.Writer, width int, colour bool) error {
		return report.Write(w, o.format, records, report.Options{Columns: columns, Colour: colour, Width: width})
	})
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	all *mpb.Progress
	bar *mpb.Bar
	now atomic.Value // string
}

func newProgress(cmd *cobra.Command, total int) *progress {
	p := &progress{}
	f, ok := terminal(cmd.ErrOrStderr())
	if !ok || total < 2 {
		return p
	}
	p.now.Store("")
	p.all = mpb.New(mpb.WithOutput(f), mpb.WithWidth(30))
	p.bar = p.all.AddBar(int64(total), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO), decor.Any(func(decor.Statistics) string { return fmt.Sprint("  ", p.now.Load()) })))
	return p
}

// start says what is worked on.
func (p *progress) start(what string) { p.now.Store(what) }

// step counts one as done.
func (p *progress) step() {
	if p.bar != nil {
		p.bar.Increment()
	}
}

// at sets how much is done.
func (p *progress) at(n int) {
	if p.bar != nil {
		p.bar.SetCurrent(int64(n))
	}
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.all.Wait()
	}
}
