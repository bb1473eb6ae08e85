package auto

import (
	"encoding/json"
	"time"

	"github.com/gonvolve/gonvolve/engine/cache"
)

// Choice is what a race said.
type Choice struct {
	Name    string   `json:"name"` // of the winner
	Results []Result `json:"results"`
	Code    string   `json:"code"` // that the winner ran
	Date    string   `json:"date"`

	because string
}

// New is the choice of a race that had a winner, today.
func New(winner int, results []Result, code string) *Choice {
	return &Choice{Name: results[winner].Name, Results: results, Code: code, Date: time.Now().Format(time.DateOnly)}
}

// Unmeasured is a choice without a race, and why.
func Unmeasured(name, why string) *Choice { return &Choice{Name: name, because: why} }

// Why is the choice in words.
func (c *Choice) Why() string {
	if c.because != "" {
		return c.because
	}
	return times(c.Name, c.Results) + ", measured on " + c.Date
}

// MS is what the contender of a name took, in milliseconds; 0 if it did not run.
func (c *Choice) MS(name string) float64 {
	for _, r := range c.Results {
		if r.Name == name {
			return r.MS
		}
	}
	return 0
}

// Complete says whether nothing went wrong that may go right another time, so that the choice is worth keeping. lasting says
// which errors will be the same.
func (c *Choice) Complete(lasting func(error) bool) bool {
	for _, r := range c.Results {
		if r.err != nil && !lasting(r.err) {
			return false
		}
	}
	return true
}

const prefix = "auto "

// Load returns the choice that was kept under a key, or nil. The key says everything that the choice depends on.
func Load(c *cache.Cache, key string) *Choice {
	var kept Choice
	if json.Unmarshal(c.Get(prefix+key), &kept) != nil || kept.Name == "" {
		return nil
	}
	return &kept
}

// Keep keeps a choice. A cache that cannot be written costs the next process a race, nothing else.
func (c *Choice) Keep(to *cache.Cache, key string) {
	if text, err := json.Marshal(c); err == nil {
		_ = to.Put(prefix+key, text)
	}
}
