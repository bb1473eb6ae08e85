package outofcore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tensorio"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// identity is what makes two runs the same.
type identity struct {
	Problem string            `json:"problem"`
	Inputs  map[string]string `json:"inputs"` // fingerprints by role
	Outputs []string          `json:"outputs"`
}

// identify is the identity of the run.
func (r *Run) identify() (identity, error) {
	p := r.p
	p.Name = ""
	id := identity{Problem: p.String(), Inputs: map[string]string{}}
	for _, role := range slices.Concat(p.Inputs(), p.Constants()) {
		print, err := fingerprint(r.files.In[role])
		if err != nil {
			return id, fmt.Errorf("%v: %w", role, err)
		}
		id.Inputs[role.String()] = print
	}
	for _, role := range r.outputs {
		id.Outputs = append(id.Outputs, role.String())
	}
	return id, nil
}

// differs names what is not the same.
func (id identity) differs(now identity) error {
	if id.Problem != now.Problem {
		return fmt.Errorf("it is of another problem, %s", id.Problem)
	}
	for r := range problem.Role(problem.Roles) {
		if name := r.String(); id.Inputs[name] != now.Inputs[name] {
			return fmt.Errorf("%s has changed since", name)
		}
	}
	if !slices.Equal(id.Outputs, now.Outputs) {
		return fmt.Errorf("it writes %v, not %v", id.Outputs, now.Outputs)
	}
	return nil
}

const (
	hashedWhole = 16 << 20 // bytes of files whose contents are their identity
	hashedEnd   = 1 << 20  // bytes at either end of larger ones, which with size and time are theirs
)

// fingerprint tells contents from others: by a hash of all of them, or, where that would take long, of both ends, with the
// file's size and time of modification.
func fingerprint(s tiling.Source) (string, error) {
	sum := sha256.New()
	switch s := s.(type) {
	case nil:
		return "", fmt.Errorf("%w: missing", engine.ErrInvalid)
	case tiling.Memory:
		fmt.Fprint(sum, s.Tensor.Type(), s.Tensor.Shape())
		sum.Write(s.Tensor.Bytes())
	case *tensorio.Array:
		st, err := s.Stat()
		if err != nil {
			return "", err
		}
		parts := []*io.SectionReader{io.NewSectionReader(s, 0, st.Size())}
		if st.Size() > hashedWhole {
			fmt.Fprint(sum, st.Size(), st.ModTime().UnixNano())
			parts = []*io.SectionReader{io.NewSectionReader(s, 0, hashedEnd), io.NewSectionReader(s, st.Size()-hashedEnd, hashedEnd)}
		}
		buffer := make([]byte, hashedEnd) // so much at once does not go through the system's cache
		for _, part := range parts {
			if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{part}, buffer); err != nil {
				return "", err
			}
		}
	default:
		return "", fmt.Errorf("%w: a source %T has no identity", engine.ErrInvalid, s)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
