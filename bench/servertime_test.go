package main

import "testing"

func TestMicrosecondsCountCommandsOfClients(t *testing.T) {
	for _, c := range []struct {
		stats string
		want  float64
	}{
		{"# Commandstats\r\ncmdstat_hmget:calls=2,usec=6,usec_per_call=3.00\r\ncmdstat_info:calls=1,usec=99,usec_per_call=99\r\n", 6},
		{"cmdstat_config|resetstat:calls=1,usec=50,x=1\ncmdstat_zrange:calls=1,usec=7,x=1\ncmdstat_hgetall:calls=3,usec=4,x=1\n", 11},
		// The commands of a script count with it, and again by themselves.
		{"cmdstat_evalsha:calls=2,usec=20,x=1\ncmdstat_hset:calls=2,usec=8,x=1\n", 20},
	} {
		if got, err := microseconds(c.stats); err != nil || got != c.want {
			t.Errorf("%q: %v, %v", c.stats, got, err)
		}
	}
	for _, bad := range []string{"", "cmdstat_hmget:calls=1\n"} {
		if got, err := microseconds(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
