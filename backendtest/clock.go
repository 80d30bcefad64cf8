package backendtest

import (
	"time"

	"github.com/taskstore/taskstore"
)

var clockRules = []rule{
	{
		name: "clock/steady",
		text: "Now is the backend's time, with an error that is small against any sensible time to live: it goes on as time does.",
		check: func(t *trial) {
			s := t.open()
			start, first := time.Now(), s.now()
			late := time.Since(start) // first may be that much later than start
			for last := first; ; time.Sleep(5 * time.Millisecond) {
				before := time.Since(start)
				now := s.now()
				after := time.Since(start)
				if now.Before(last.Add(-clockError)) {
					t.Fatalf("Now went back by %v", last.Sub(now))
				}
				if told := now.Sub(first); told < before-late-clockError || told > after+clockError {
					t.Fatalf("Now went on by %v within %v", told, after)
				}
				if after > clockError*3 {
					return
				}
				last = now
			}
		},
	},
	{
		name: "clock/ping",
		text: "Ping returns nil if the store can be reached.",
		check: func(t *trial) {
			s := t.open()
			p := power[taskstore.Pinger](s, "Pinger")
			for range 3 {
				if err := p.Ping(t.ctx); err != nil {
					t.Errorf("Ping: %v", err)
				}
			}
		},
	},
}
