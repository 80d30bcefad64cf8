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
	peers.Peer
	backend taskstore.StorageBackend
	disk    func(ctx context.Context) (bytes float64, err error) // nil: a store without a disk
}

const (
	onSQLite   = "taskstore, SQLite"
	onNormal   = "taskstore, SQLite, SynchronousNormal"
	onPostgres = "taskstore, PostgreSQL"
)

// storesTopic puts the stores of this project side by side.
func (b *bench) storesTopic(ctx context.Context) error {
	work, lists := b.workSheet("stores", ours), b.listSheet("stores-lists")
	return b.withStores(ctx, func(all []kept) (err error) {
		var same []peers.Peer
		for _, k := range all {
			same = append(same, k.Peer)
		}
		for _, callers := range b.StoreCallers {
			err = errors.Join(err, b.work(ctx, work, same, b.Sizes[0], callers, 1))
		}
		for _, n := range b.Lists[:2] {
			err = errors.Join(err, b.lists(ctx, lists, same, n))
		}
		return errors.Join(err, b.hints(ctx, all))
	})
}

// withStores has f use the stores, and closes them.
func (b *bench) withStores(ctx context.Context, f func([]kept) error) error {
	host := new(host)
	defer host.end()
	all, err := b.stores(ctx, host)
	if err == nil {
		err = f(all)
	}
	for _, k := range all {
		err = errors.Join(err, taskstore.Close(k.backend))
	}
	return errors.Join(err, b.flush(ctx))
}

// stores opens one of each kind, on files and servers of its own.
func (b *bench) stores(ctx context.Context, host *host) (all []kept, err error) {
	add := func(name string, backend taskstore.StorageBackend, disk func(context.Context) (float64, error)) {
		all = append(all, kept{peers.Taskstore(name, backend), backend, disk})
	}
	add(oursInMemory, taskstore.NewMemoryBackend(nil), nil)
	dir, err := os.MkdirTemp(".", "stores-*") // on a disk: temporary files may be in memory
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

// startPostgres starts a server that syncs its commits, and returns its URL.
func (h *host) startPostgres() (url string, err error) {
	defer h.recovered(&err)
	return pgtest.Start(h, "fsync=on").URL(), nil
}
