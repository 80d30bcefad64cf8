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

// A Create is one write, and so is an end.
func BenchmarkCreate(b *testing.B) {
	for name, open := range backends {
		s := newStore(b, open(b), &Options{MaxTasks: -1, MaxActive: math.MaxInt32})
		p := CreateParams{Holder: "x", Request: raw(`{"name":"tool","arguments":{}}`)}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				create(b, s, p)
			}
		})
		b.Run(name+"/AndComplete", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.RunOf(create(b, s, p)).Complete(ctx, raw(`1`)); err != nil {
					b.Fatal(err)
				}
			}
		})
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
