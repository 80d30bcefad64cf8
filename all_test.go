package taskstore

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// damagedPager lists two pages, each with records that cannot be read.
type damagedPager struct {
	StorageBackend
	joined bool
}

func (p damagedPager) ListPage(_ context.Context, prefix Key, cursor string, _ int) ([]Record, string, error) {
	record := func(task string) Record { return Record{Key: Key{Owner: prefix.Owner, Task: task}, Version: 1} }
	damage := func(task string) error { return &CorruptError{Key: Key{Owner: prefix.Owner, Task: task}} }
	if cursor == "" {
		err := damage("b")
		if p.joined {
			err = errors.Join(err, damage("c"))
		}
		return []Record{record("a"), record("d")}, "next", err
	}
	return []Record{record("f")}, "", damage("e")
}

// All tells of each record that cannot be read and goes on, if the loop does.
func TestAllGoesOnBehindDamagedRecords(t *testing.T) {
	for joined, want := range map[bool]string{false: "a d !b f !e ", true: "a d !b !c f !e "} {
		got := ""
		for r, err := range All(t.Context(), damagedPager{joined: joined}, Key{Owner: "o"}) {
			var damaged *CorruptError
			if errors.As(err, &damaged) {
				assert.Zero(t, r)
				r.Key.Task = "!" + damaged.Key.Task
			} else {
				require.NoError(t, err)
			}
			got += r.Key.Task + " "
		}
		assert.Equal(t, want, got)
	}
	for _, err := range All(t.Context(), damagedPager{}, Key{Owner: "o"}) {
		if err != nil {
			break // a loop may end there
		}
	}
}
