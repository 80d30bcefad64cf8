package tasks

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// One regression test per failure that others published.

func TestRegressionForeignTaskIsAnUnknownTask(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{Request: raw(`1`), Holder: "x"})
		_, err := s.RunOf(task).RequireInput(ctx, inputs("k"))
		require.NoError(t, err)
		before := get(t, s, task.ID)
		unknown := uuid.NewString()
		for _, stranger := range []string{"other", "Owner", "owner ", "own", "u:owner", owner + "\x00", "r:0"} {
			mine, theirs := everyMethod(s, stranger, unknown), everyMethod(s, stranger, task.ID)
			for name := range mine {
				a, b := mine[name](), theirs[name]()
				assert.ErrorIs(t, b, ErrNotFound, "%s by %q", name, stranger)
				assert.Equal(t, a, b, "%s tells them apart", name)
			}
			page, _, err := s.List(ctx, stranger, "", 10)
			require.NoError(t, err)
			assert.Empty(t, page)
			other, created, err := s.Create(ctx, stranger, CreateParams{IdempotencyKey: "same", Request: raw(`1`)})
			require.NoError(t, err)
			assert.True(t, created, "idempotency keys are per owner")
			assert.NotEqual(t, task.ID, other.ID)
		}
		assert.Equal(t, before, get(t, s, task.ID))
	})
}

func TestRegressionIDsCannotBeGuessed(t *testing.T) {
	s := memoryStore(t, &Options{MaxActive: -1})
	seen := map[string]bool{}
	var set, unset [16]byte
	for range 1000 {
		id := create(t, s, CreateParams{}).ID
		assert.True(t, validID(id))
		assert.False(t, seen[id])
		seen[id] = true
		u := uuid.MustParse(id)
		for i := range u {
			set[i] |= u[i]
			unset[i] |= ^u[i]
		}
	}
	free := 0
	for i := range set {
		for bit := range 8 {
			free += int((set[i] & unset[i]) >> bit & 1)
		}
	}
	assert.Equal(t, 122, free, "bits that vary")
}

func TestRegressionEmptyOwnerOpensNoTask(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{})
		for _, bad := range []string{"", strings.Repeat("x", MaxOwnerLength+1)} {
			for name, try := range everyMethod(s, bad, task.ID) {
				err := try()
				assert.ErrorIs(t, err, ErrInvalidOwner, name)
				assert.ErrorIs(t, err, ErrInvalid, name)
				assert.NotErrorIs(t, err, ErrNotFound, name)
			}
			_, _, err := s.List(ctx, bad, "", 1)
			assert.ErrorIs(t, err, ErrInvalidOwner)
			_, _, err = s.Create(ctx, bad, CreateParams{})
			assert.ErrorIs(t, err, ErrInvalidOwner)
		}
		_, _, err := s.Create(ctx, strings.Repeat("x", MaxOwnerLength), CreateParams{Resumable: true, IdempotencyKey: "k"})
		require.NoError(t, err)
	})
}

func TestRegressionCancelIsNotRevertedByALateWrite(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		_, err := run.RequireInput(ctx, inputs("k"))
		require.NoError(t, err)
		cancelled, err := s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		assert.Equal(t, Cancelled, cancelled.Status)
		_, err = s.ProvideInput(ctx, owner, task.ID, inputs("k"), nil)
		require.NoError(t, err)
		for _, try := range runWrites(run) {
			_, err := try()
			assert.ErrorIs(t, err, ErrLeaseLost)
		}
		assert.Equal(t, cancelled, get(t, s, task.ID))

		task, run = running(t, s) // nor is the request
		_, err = s.Cancel(ctx, owner, task.ID)
		require.NoError(t, err)
		_, err = run.Update(ctx, func(t *Task) error { t.CancelRequested = false; return nil })
		assert.ErrorIs(t, err, ErrInvalid)
		got, err := run.SetStatusMessage(ctx, "still at it")
		require.NoError(t, err)
		assert.True(t, got.CancelRequested)
	})
}

func TestRegressionNamesCannotReachOtherRecords(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{IdempotencyKey: "k", Resumable: true})
		key := hash("k")
		for _, id := range []string{
			"", ".", "*", "../" + task.ID, "t/" + task.ID, task.ID + "/", task.ID + "\x00", " " + task.ID, strings.ToUpper(task.ID),
			"{" + task.ID + "}", "urn:uuid:" + task.ID, strings.ReplaceAll(task.ID, "-", ""), "k/" + key, key, uuid.Nil.String(),
			strings.Repeat("x", 5000), task.ID[:35] + "\n", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		} {
			assert.False(t, validID(id), "%q reaches the backend", id)
			for name, try := range everyMethod(s, owner, id) {
				assert.Equal(t, ErrNotFound, unwrapAll(try()), "%s %q", name, id)
			}
		}
		for _, o := range []string{"owner}", "{owner}", "owner:t", "owner/t", "owner\x00", "*", "own?r"} {
			_, err := s.Get(ctx, o, task.ID)
			assert.ErrorIs(t, err, ErrNotFound, o)
		}
	})
}

// unwrapAll finds ErrNotFound behind a Run's ErrLeaseLost.
func unwrapAll(err error) error {
	if u, ok := err.(interface{ Unwrap() []error }); ok {
		return u.Unwrap()[1]
	}
	return err
}

func TestRegressionStaleRunnerDoesNotOverwrite(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task := create(t, s, CreateParams{Holder: "stale"})
		stale := s.RunOf(task)
		_, err := stale.Release(ctx)
		require.NoError(t, err)
		run, err := s.Acquire(ctx, owner, task.ID, "fresh")
		require.NoError(t, err)
		for name, try := range runWrites(stale) {
			_, err := try()
			assert.ErrorIs(t, err, ErrLeaseLost, name)
		}
		ended, err := run.Complete(ctx, raw(`"fresh"`))
		require.NoError(t, err)
		_, err = stale.Complete(ctx, raw(`"stale"`))
		assert.ErrorIs(t, err, ErrLeaseLost)
		assert.Equal(t, ended, get(t, s, task.ID))
	})
}
