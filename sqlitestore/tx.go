package sqlitestore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/taskstore/taskstore"
)

// A tx is the writer's transaction. broken keeps its first failure; after that the methods
// do no more work and their results are meaningless.
type tx struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	now        int64
	change     int64 // the number of the latest write
	removed    int   // records that were removed
	swept      bool  // set by CleanupExpired, which counts the records that it reclaims
	broken     error
}

// The statements of a transaction.
const (
	beginSQL   = `BEGIN IMMEDIATE`
	commitSQL  = `COMMIT`
	undoSQL    = `ROLLBACK`
	schemaSQL  = `PRAGMA user_version`
	latestSQL  = `SELECT max(id) FROM change`
	findSQL    = `SELECT s.id, s.n, ifnull(r.seq, 0), ifnull(r.version, 0), ifnull(r.expires, 0) FROM scope s LEFT JOIN record r ON r.scope = s.id AND r.task = ? WHERE s.owner = ? AND s.collection = ?`
	addScope   = `INSERT INTO scope (owner, collection, n) VALUES (?, ?, 1)`
	countSQL   = `UPDATE scope SET n = n + ? WHERE id = ?`
	dropScope  = `DELETE FROM scope WHERE id = ? AND n = 0`
	insertSQL  = `INSERT INTO record (seq, scope, task, version, expires, data) VALUES (?, ?, ?, 1, ?, ?)`
	updateSQL  = `UPDATE record SET version = ?, expires = ?, data = ? WHERE seq = ?`
	renewSQL   = `UPDATE record SET version = ?, data = ? WHERE seq = ?`
	deleteSQL  = `DELETE FROM record WHERE seq = ?`
	noteSQL    = `INSERT INTO change (id, owner, collection, task, version) VALUES (?, ?, ?, ?, ?)`
	trimSQL    = `DELETE FROM change WHERE id <= ?`
	expiredSQL = `SELECT seq, scope FROM record WHERE expires > 0 AND expires < ? ORDER BY expires LIMIT ?`
	roomSQL    = `SELECT seq, scope FROM record WHERE scope = ? AND expires > 0 AND expires < ? ORDER BY expires LIMIT 1`
	freeSQL    = `PRAGMA freelist_count`
)

var txStatements = []string{beginSQL, commitSQL, undoSQL, schemaSQL, latestSQL, findSQL, addScope, countSQL, dropScope,
	insertSQL, updateSQL, renewSQL, deleteSQL, noteSQL, trimSQL, expiredSQL, roomSQL, freeSQL}

// prepare prepares the statements.
func (t *tx) prepare(ctx context.Context, conn *sql.Conn) error {
	t.conn, t.statements = conn, make(map[string]*sql.Stmt)
	for _, text := range txStatements {
		s, err := conn.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		t.statements[text] = s
	}
	return nil
}

// close frees the statements. A connection does not close while it has statements.
func (t *tx) close() error {
	var errs []error
	for _, s := range t.statements {
		errs = append(errs, s.Close())
	}
	clear(t.statements)
	return errors.Join(errs...)
}

// start resets t for the transaction that was begun.
func (t *tx) start() {
	t.broken, t.removed, t.swept, t.now = nil, 0, false, now()
	schema := 0
	if t.row(schemaSQL).scan(&schema); t.broken == nil && schema != len(migrations) {
		t.broken = &FileError{Reason: "another version of this library has changed its schema: update this program and restart it"}
	}
	t.row(latestSQL).scan(&t.change)
}

func (t *tx) exec(statement string, args ...any) (r sql.Result) {
	if t.broken == nil {
		r, t.broken = t.statements[statement].ExecContext(background, args...)
	}
	return r
}

type row struct {
	t *tx
	*sql.Row
}

func (t *tx) row(statement string, args ...any) row {
	if t.broken != nil {
		return row{t: t}
	}
	return row{t, t.statements[statement].QueryRowContext(background, args...)}
}

// scan reports whether there is a row.
func (r row) scan(dest ...any) bool {
	if r.t.broken != nil {
		return false
	}
	err := r.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false
	}
	r.t.broken = err
	return err == nil
}

// A found is the state of a key.
type found struct {
	scope, n int64 // 0: the collection has no rows
	seq      int64 // 0: there is no record
	version  taskstore.Version
	expires  int64
}

// find looks for the record of key, and removes it if it has expired.
func (t *tx) find(key taskstore.Key) (f found) {
	for {
		f = found{}
		t.row(findSQL, []byte(key.Task), []byte(key.Owner), []byte(key.Collection)).
			scan(&f.scope, &f.n, &f.seq, &f.version, &f.expires)
		if f.expires == 0 || f.expires >= t.now || t.broken != nil {
			return f
		}
		t.remove(f.seq, f.scope)
	}
}

// remove removes a record, and its collection if it was the last.
func (t *tx) remove(seq, scope int64) {
	t.removed++
	t.exec(deleteSQL, seq)
	t.exec(countSQL, -1, scope)
	t.exec(dropScope, scope)
}

// insert adds a record to the collection of f.
func (t *tx) insert(key taskstore.Key, f found, expires int64, data []byte) {
	if f.scope == 0 {
		r := t.exec(addScope, []byte(key.Owner), []byte(key.Collection))
		if t.broken != nil {
			return
		}
		f.scope, t.broken = r.LastInsertId()
	} else {
		t.exec(countSQL, 1, f.scope)
	}
	t.exec(insertSQL, t.change+1, f.scope, []byte(key.Task), expires, data)
}

// note numbers the latest write and adds it to change.
func (t *tx) note(key taskstore.Key, version taskstore.Version) {
	t.change++
	t.exec(noteSQL, t.change, []byte(key.Owner), []byte(key.Collection), []byte(key.Task), int64(version))
	if t.change%trimEvery == 0 {
		t.exec(trimSQL, t.change-keptChanges)
	}
}

// The number of writes that change keeps. A process that polls every 50 ms misses some only
// if others make 80,000 writes a second.
const (
	keptChanges = 4096
	trimEvery   = 64
)

// atomically calls f. If f returns an error, its writes are rolled back.
func (t *tx) atomically(f func() error) error {
	change := t.change
	t.plain("SAVEPOINT batch")
	err := f()
	if err != nil {
		t.change = change
		t.plain("ROLLBACK TO batch")
	}
	t.plain("RELEASE batch")
	return err
}

// plain executes a statement that is not prepared.
func (t *tx) plain(statement string) {
	if t.broken == nil {
		_, t.broken = t.conn.ExecContext(background, statement)
	}
}
