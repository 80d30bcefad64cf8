package backendtest

import (
	"context"
	"iter"
	"strings"
)

// alterOwners has each owner yielded as often as times says.
func alterOwners(times func(f *fake, owner string) int) func(f *fake) {
	return func(f *fake) {
		f.owners = func(ctx ctxt) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for owner, err := range f.m.Owners(ctx) {
					n := 1
					if err == nil {
						n = times(f, owner)
					}
					for range n {
						if !yield(owner, err) {
							return
						}
					}
				}
			}
		}
	}
}

var brokenOwners = []breach{
	{"owners/once", "an owner is yielded for each of its collections", alterOwners(func(f *fake, owner string) int {
		collections := make(map[string]bool)
		for _, k := range f.keys(&f.first) {
			if k.Owner == owner {
				collections[k.Collection] = true
			}
		}
		return len(collections)
	})},
	{"owners/once owners/gone", "only default collections are looked at", alterOwners(func(f *fake, owner string) int {
		for _, k := range f.keys(&f.first) {
			if k.Owner == owner && k.Collection == "" {
				return 1
			}
		}
		return 0
	})},
	{"owners/once", "names are cut at a brace", func(f *fake) {
		f.owners = func(ctx ctxt) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for owner, err := range f.m.Owners(ctx) {
					owner, _, _ = strings.Cut(owner, "}")
					if !yield(owner, err) {
						return
					}
				}
			}
		}
	}},
	{"owners/gone", "owners are remembered for ever", func(f *fake) {
		f.owners = func(ctx ctxt) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				seen := make(map[string]bool)
				for _, k := range f.keys(&f.first) {
					if !seen[k.Owner] && !yield(k.Owner, nil) {
						return
					}
					seen[k.Owner] = true
				}
			}
		}
	}},
	{"owners/end", "ctx is not looked at", func(f *fake) {
		f.owners = func(ctxt) iter.Seq2[string, error] { return f.m.Owners(context.Background()) }
	}},
	{"owners/end", "the walk ends without a word when ctx is done", func(f *fake) {
		f.owners = func(ctx ctxt) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for owner, err := range f.m.Owners(ctx) {
					if err != nil || !yield(owner, nil) {
						return
					}
				}
			}
		}
	}},
}
