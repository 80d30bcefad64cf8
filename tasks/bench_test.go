package tasks

import "testing"

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
