package tasks

import (
	"errors"
	"math"
	"testing"
)

func BenchmarkGet(b *testing.B) {
	for name, result := range map[string]int{"Small": 100, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			s := memoryStore(b, nil)
			task := create(b, s, CreateParams{Request: raw(`{"name":"tool","arguments":{}}`)})
			_, err := s.Complete(ctx, owner, task.ID, jsonOf(result))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(ctx, owner, task.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// With a limit of active tasks a Create is two writes side by side, and an end one
// more after it.
func BenchmarkCreate(b *testing.B) {
	for name, open := range backends {
		for counted, most := range map[string]int{"Counted": math.MaxInt32, "NotCounted": -1} {
			s := newStore(b, open(b), &Options{MaxTasks: -1, MaxActive: most})
			p := CreateParams{Holder: "x", Request: raw(`{"name":"tool","arguments":{}}`)}
			b.Run(name+"/"+counted, func(b *testing.B) {
				for b.Loop() {
					create(b, s, p)
				}
			})
			b.Run(name+"/"+counted+"AndComplete", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.RunOf(create(b, s, p)).Complete(ctx, raw(`1`)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(name+"/Refused", func(b *testing.B) {
			s := newStore(b, open(b), &Options{MaxActive: 1})
			create(b, s, CreateParams{})
			for b.Loop() {
				if _, _, err := s.Create(ctx, owner, CreateParams{}); !errors.Is(err, ErrLimit) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRunUpdate(b *testing.B) {
	s := memoryStore(b, nil)
	_, run := running(b, s)
	messages := [2]string{"one", "two"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := run.SetStatusMessage(ctx, messages[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}
