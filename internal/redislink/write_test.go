package redislink

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/fakeredis"
)

// A lost write is held to scores of the index, so the node that has the index tells the time:
// while a slot moves, the record may be on another.
func TestTheNodeOfTheIndexTellsTheTimeOfALostWrite(t *testing.T) {
	first, again, clock := NewScript("first", "1"), NewScript("again", "2"), NewScript("clock", "3")
	s := fakeredis.Serve(t, func(args []string) string {
		if args[0] != "evalsha" {
			return fakeredis.Unknown
		}
		switch args[1] {
		case string(clock.SHA):
			return fakeredis.Bulk(strconv.FormatInt(time.Now().UnixMicro(), 10))
		case string(again.SHA):
			return fakeredis.Bulk("7")
		}
		return fakeredis.HangUp // the answer of the first is lost
	})
	resent := 0
	l, err := New(connect(t, s, redis.Options{}), Options{Clock: clock, Resent: func() { resent++ }})
	require.NoError(t, err)
	keys := []string{"record", "index", "expiry"}
	r, err := l.Write(t.Context(), &Write{
		First: Call{Script: first, Keys: keys}, Again: Call{Script: again, Keys: keys}, ByAge: true,
	}, nil)
	require.NoError(t, err)
	assert.Equal(t, Reply{Status: StatusOK, Number: 7, Resent: true}, r)
	assert.Equal(t, 1, resent)
	asked := s.Got("evalsha " + string(clock.SHA))
	require.Len(t, asked, 1)
	assert.Equal(t, "evalsha "+string(clock.SHA)+" 1 index", asked[0].Text)
}

// A batch may lack room for several of its writes. It is made again for each, once.
func TestRoomIsMadeOnceForEachWriteOfABatch(t *testing.T) {
	script, clock := NewScript("batch", "1"), NewScript("clock", "3")
	script.Writes = 16
	full := []int{1, 3, 3, 1} // the write that finds no room, from 1
	s := fakeredis.Serve(t, func(args []string) string {
		if args[0] != "evalsha" || len(full) == 0 {
			return fakeredis.Unknown
		}
		nth := full[0]
		full = full[1:]
		return "*3\r\n" + fakeredis.Bulk("full") + fakeredis.Bulk("9") + ":" + strconv.Itoa(nth) + "\r\n"
	})
	l, err := New(connect(t, s, redis.Options{}), Options{Clock: clock})
	require.NoError(t, err)
	var made []int
	r, err := l.Write(t.Context(), &Write{First: Call{Script: script, Keys: []string{"record", "index", "expiry"}}}, func(_ context.Context, write int) bool {
		made = append(made, write)
		return true
	})
	require.NoError(t, err)
	assert.Equal(t, []int{0, 2}, made)
	assert.Equal(t, Reply{Status: StatusFull, Number: 9, Write: 2}, r)
}
