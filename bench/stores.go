package main

import (
	"context"
	"database/sql" // with the driver of sqlitestore
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
	"github.com/taskstore/taskstore/internal/pgtest"
	"github.com/taskstore/taskstore/pgstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// A kept store is one of this project's.
type kept struct {
	taskstore.StorageBackend
	peer peers.Peer
	// bytes is what it takes of a disk or of memory; nil: other sections measure that.
	bytes func(ctx context.Context) (float64, error)
}

const (
	onSQLite   = "taskstore, SQLite"
	onNormal   = "taskstore, SQLite, SynchronousNormal"
	onPostgres = "taskstore, PostgreSQL"
)

// storeCallers are how many work at once on the stores side by side.
var storeCallers = []int{1, 16}

// storeSections puts the stores of this project side by side.
func (b *bench) storeSections(ctx context.Context) (err error) {
	s := b.report.section("The stores side by side")
	s.text("The same work on each store of this project, 1 KiB of data. SQLite, but where it says SynchronousNormal, and PostgreSQL sync each commit to the disk; " +
		"this Redis keeps nothing on disk. PostgreSQL and Redis run on the same machine as their client.\n")
	host := new(host)
	defer host.end()
	all, err := b.stores(ctx, host)
	defer func() {
		for _, k := range all {
			err = errors.Join(err, taskstore.Close(k.StorageBackend))
		}
		err = errors.Join(err, b.flush(ctx))
	}()
	if err != nil {
		return err
	}
	var everybody []peers.Peer
	for _, k := range all {
		everybody = append(everybody, k.peer)
	}
	return errors.Join(b.storeWork(ctx, s, everybody), b.storeLists(ctx, s, everybody), b.storeWatches(ctx, s, all), b.storeSizes(ctx, s, all))
}

// stores opens one of each kind, on files and servers of its own.
func (b *bench) stores(ctx context.Context, host *host) (all []kept, err error) {
	add := func(name string, backend taskstore.StorageBackend, bytes func(context.Context) (float64, error)) {
		all = append(all, kept{backend, peers.Taskstore(name, backend), bytes})
	}
	add(oursInMemory, taskstore.NewMemoryBackend(nil), nil)
	dir, err := os.MkdirTemp(".", "stores-*") // a disk, where the directory of temporary files may be memory
	if err != nil {
		return all, err
	}
	host.Cleanup(func() { _ = os.RemoveAll(dir) })
	for i, name := range []string{onSQLite, onNormal} {
		path := filepath.Join(dir, fmt.Sprint(i))
		backend, err := sqlitestore.Open(ctx, path, &sqlitestore.Options{SynchronousNormal: name == onNormal})
		if err != nil {
			return all, err
		}
		add(name, backend, func(ctx context.Context) (n float64, err error) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				return 0, err
			}
			err = db.QueryRowContext(ctx, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&n)
			return n, errors.Join(err, db.Close())
		})
	}
	url, err := host.startPostgres()
	if err != nil {
		return all, err
	}
	if err := pgstore.Migrate(ctx, url, nil); err != nil {
		return all, err
	}
	onPG, err := pgstore.Open(ctx, url, nil)
	if err != nil {
		return all, err
	}
	add(onPostgres, onPG, func(ctx context.Context) (n float64, err error) {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return 0, err
		}
		err = conn.QueryRow(ctx, "SELECT sum(pg_total_relation_size(oid))::float8 FROM pg_class WHERE relkind = 'r' AND relname IN ('scope', 'record') AND relnamespace = 'taskstore'::regnamespace").Scan(&n)
		return n, errors.Join(err, conn.Close(ctx))
	})
	onRedis, err := taskstore.NewRedisBackend(b.client(dbOurs), nil)
	if err != nil {
		return all, err
	}
	add(ours, onRedis, nil)
	return all, nil
}

// storeWork compares the work on single tasks.
func (b *bench) storeWork(ctx context.Context, s *section, all []peers.Peer) error {
	const size = 1 << 10
	var gets, updates []Result
	for _, callers := range storeCallers {
		for _, c := range []struct {
			call    func(context.Context, peers.Peer, int, int) (call, error)
			results *[]Result
		}{{getCall, &gets}, {updateCall, &updates}} {
			contest := b.rates(callers)
			for _, p := range all {
				do, err := c.call(ctx, p, callers, size)
				if err != nil {
					return fmt.Errorf("%s: %w", p.Name, err)
				}
				contest.Contestants = append(contest.Contestants, b.loaded(p.Name, callers, 1, do))
			}
			r, err := b.contest(ctx, contest)
			if err != nil {
				return err
			}
			*c.results = append(*c.results, r)
		}
	}
	creates, deletes, err := b.churn(ctx, all, storeCallers, size, 1)
	if err != nil {
		return err
	}
	b.showWork(s, "Get", size, ours, gets)
	b.showWork(s, "Update by compare-and-swap", size, ours, updates)
	b.showWork(s, "Create", size, ours, creates)
	b.showWork(s, "Delete", size, ours, deletes)
	return nil
}

// storeLists compares lists and first pages.
func (b *bench) storeLists(ctx context.Context, s *section, all []peers.Peer) error {
	var lists, pages []Result
	for _, n := range b.Lists {
		if n > 1000 {
			continue // the section about lists has these
		}
		r, err := b.reads(ctx, all, n, func(p peers.Peer, owner string) (func(context.Context) error, int) {
			return func(ctx context.Context) error { return counted(p.List(ctx, owner))(n) }, n
		})
		if err != nil {
			return err
		}
		lists = append(lists, r)
		if r, err = b.pages(ctx, all, n); err != nil {
			return err
		}
		pages = append(pages, r)
	}
	s.table(comparison("**List**", "ms", ours, lists))
	s.table(comparison(fmt.Sprintf("**First page of %d**", pageSize), "ms", ours, pages))
	return nil
}

// storeWatches compares hints.
func (b *bench) storeWatches(ctx context.Context, s *section, all []kept) error {
	c := Contest{Name: "watch the stores"}
	for _, k := range all {
		c.Contestants = append(c.Contestants, Contestant{Name: k.peer.Name, Sample: func(ctx context.Context) (Sample, error) {
			return b.watchStore(ctx, k.StorageBackend)
		}})
	}
	r, err := b.contest(ctx, c)
	if err != nil {
		return err
	}
	t := table{caption: fmt.Sprintf("**From before a write to its hint in the same process, up to %s changes a second**", countText(changesPerSecond)),
		header: []string{"", "p50 µs", "p99 µs", "changes/s", "hints for a write"}}
	for _, name := range r.Names {
		t.row(name, withSpread(r.stat(name, p50)), withSpread(r.stat(name, p99)), figure(r.stat(name, value).Median), figure(r.stat(name, extra).Median))
	}
	s.table(t)
	return nil
}

// storeSizes measures what a task takes of a disk.
func (b *bench) storeSizes(ctx context.Context, s *section, all []kept) error {
	t := table{header: []string{"bytes for each task, on disk", "in all", "beyond the data"}}
	for _, k := range all {
		if k.bytes == nil {
			continue
		}
		before, err := k.bytes(ctx)
		if err != nil {
			return err
		}
		if err := b.fillOwned(ctx, k.peer); err != nil {
			return err
		}
		after, err := k.bytes(ctx)
		if err != nil {
			return err
		}
		each := (after - before) / float64(b.Owned)
		t.row(k.peer.Name, figure(each), figure(each-1024))
	}
	s.table(t)
	return nil
}

// startPostgres starts a server that syncs its commits, and returns its URL.
func (h *host) startPostgres() (url string, err error) {
	defer h.recovered(&err)
	return pgtest.Start(h, "fsync=on").URL(), nil
}
