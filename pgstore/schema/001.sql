-- Version 1 of the schema. Migrate runs this in one transaction; so may a database
-- administrator, by psql -1. "taskstore" is the schema's name, which must exist; for
-- another name replace it, quotes included, everywhere.

CREATE TABLE "taskstore".version (number int NOT NULL);
INSERT INTO "taskstore".version VALUES (1);

-- A scope is a collection of an owner. Its row is the lock of creates and removals, and
-- their counter. It goes with its last record.
CREATE TABLE "taskstore".scope (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	n bigint NOT NULL,        -- rows in record, expired ones included
	last_seq bigint NOT NULL, -- of the latest record
	owner bytea NOT NULL,
	collection bytea NOT NULL,
	UNIQUE (owner, collection)
) WITH (fillfactor = 50);

-- Pages keep room for the next state of a record, and an update that keeps the expiry
-- changes no indexed column: so it writes no index.
CREATE TABLE "taskstore".record (
	scope bigint NOT NULL,
	seq bigint NOT NULL,     -- when it was created, in Unix µs; the order of its scope
	version bigint NOT NULL,
	expires bigint,          -- the last Unix ms in which it exists; null: it stays
	task bytea NOT NULL,
	ops bytea NOT NULL,      -- ids of the last 8 writes, of 8 bytes each, latest first
	data bytea NOT NULL,
	PRIMARY KEY (scope, task)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX record_seq ON "taskstore".record (scope, seq);
CREATE INDEX record_scope_expires ON "taskstore".record (scope, expires) WHERE expires IS NOT NULL;
CREATE INDEX record_expires ON "taskstore".record (expires) WHERE expires IS NOT NULL;

-- What watchers poll: the changes of about the last minute. A crash of the server empties
-- both tables, and so tells watchers that they may have missed some.
CREATE UNLOGGED TABLE "taskstore".change (
	id bigint GENERATED ALWAYS AS IDENTITY, -- given under the record's lock
	tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
	watch uuid NOT NULL,     -- a digest of owner and collection
	version bigint NOT NULL, -- 0: it is gone
	task bytea NOT NULL
);
CREATE INDEX change_tx ON "taskstore".change (tx);
CREATE UNLOGGED TABLE "taskstore".epoch (id uuid NOT NULL);
CREATE UNIQUE INDEX epoch_one ON "taskstore".epoch ((true));

-- The one clock, in µs. Never now(), the start of the transaction: what is judged after a
-- wait for a lock would be judged too early.
CREATE FUNCTION "taskstore".now_us() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint';

-- note records a change for watchers.
CREATE FUNCTION "taskstore".note(p_watch uuid, p_version bigint, p_task bytea, p_notify boolean) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO "taskstore".change (watch, version, task) VALUES (p_watch, p_version, p_task);
	IF p_notify THEN
		PERFORM pg_notify('taskstore_' || '"taskstore".change'::regclass::oid, '');
	END IF;
END $$;

-- Sessions keep the plans of functions, also those that they made while the tables were
-- empty. So the functions forbid what is right for small tables only.

-- The functions below rely on READ COMMITTED: each statement sees what was committed while
-- the one before it waited. Locks are taken in one order: scopes by collection, then
-- records. Every reply is a status and a number:
--
--	0 done: the version after the write, or the version that was deleted, 0 for none
--	1 conflict: the present version
--	2 full: the records that count
--	3 overflow: the present version
--	4 unknown: a write sent again that cannot tell whether its first copy was applied
--	5 again: nothing was changed, and another call will find out more

-- write makes writes of one owner, all or none, with the locks of their scopes.
--
--	p_datas     null: delete, and heed no version
--	p_expires   null: never
--	p_expected  -1: any version
--	p_limits    records that the scope may have, null: any number
--	p_op        the id of the operation
--	p_since     of a copy that follows one whose outcome is not known: an instant before
--	            the first copy, in µs
--	o_index     the write that the reply is about, from 0
CREATE FUNCTION "taskstore".write(p_owner bytea, p_collections bytea[], p_tasks bytea[], p_datas bytea[], p_expires bigint[],
	p_expected bigint[], p_limits bigint[], p_watches uuid[], p_op bytea, p_since bigint, p_notify boolean,
	OUT o_status int, OUT o_index int, OUT o_number bigint) LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
	k int := cardinality(p_tasks);
	-- of each scope
	scopes bytea[]; ids bigint[]; ns bigint[]; seqs bigint[]; touched boolean[]; added bigint[];
	-- of each write
	scope_of int[]; found_seq bigint[]; actual bigint[]; removes boolean[];
	v_collection bytea; v_id bigint; v_n bigint; v_seq bigint; v_version bigint; v_expires bigint[]; v_expiry bigint; v_ops bytea; first_ops bytea;
	us bigint; ms bigint; place int; live bigint; i int; s int;
BEGIN
	-- The locks.
	FOR v_collection IN SELECT DISTINCT u FROM unnest(p_collections) u ORDER BY u LOOP
		LOOP
			SELECT t.id, t.n, t.last_seq INTO v_id, v_n, v_seq FROM "taskstore".scope t
				WHERE t.owner = p_owner AND t.collection = v_collection FOR NO KEY UPDATE;
			EXIT WHEN FOUND;
			INSERT INTO "taskstore".scope (owner, collection, n, last_seq) VALUES (p_owner, v_collection, 0, 0)
				ON CONFLICT DO NOTHING RETURNING id, n, last_seq INTO v_id, v_n, v_seq;
			EXIT WHEN FOUND;
		END LOOP;
		scopes := scopes || v_collection; ids := ids || v_id; ns := ns || v_n; seqs := seqs || v_seq;
		touched := touched || (v_n = 0); added := added || 0::bigint;
	END LOOP;
	FOR i IN 1..k LOOP
		s := array_position(scopes, p_collections[i]);
		scope_of[i] := s;
		SELECT r.seq, r.version, r.expires, r.ops INTO v_seq, v_version, v_expiry, v_ops FROM "taskstore".record r
			WHERE r.scope = ids[s] AND r.task = p_tasks[i] FOR NO KEY UPDATE;
		found_seq[i] := v_seq; actual[i] := coalesce(v_version, 0); v_expires[i] := v_expiry;
		IF i = 1 THEN first_ops := v_ops; END IF;
	END LOOP;
	us := "taskstore".now_us(); ms := us / 1000;

	-- Whether each may be made. Nothing has been changed when one is refused.
	o_status := 0;
	FOR i IN 1..k LOOP
		s := scope_of[i]; o_index := i - 1;
		IF v_expires[i] < ms THEN actual[i] := 0; END IF;
		o_number := actual[i];
		IF i = 1 AND p_since IS NOT NULL THEN
			place := NULL;
			IF actual[1] > 0 AND p_datas[1] IS NOT NULL THEN
				SELECT min(g) INTO place FROM generate_series(1, length(first_ops) / 8) g WHERE substr(first_ops, g * 8 - 7, 8) = p_op;
			END IF;
			IF place IS NOT NULL THEN
				o_number := actual[1] - place + 1;
				RETURN;
			ELSIF p_datas[1] IS NULL OR p_expected[1] > 0 OR p_expected[1] = 0 AND actual[1] > 0 THEN
				IF actual[1] = 0 OR found_seq[1] >= p_since
					OR p_expected[1] > 0 AND (actual[1] < p_expected[1] OR actual[1] - p_expected[1] > length(first_ops) / 8)
				THEN o_status := 4; END IF;
			END IF;
		END IF;
		removes[i] := p_datas[i] IS NULL OR p_expires[i] <= ms;
		removes[i] := coalesce(removes[i], false);
		IF o_status <> 0 OR p_datas[i] IS NULL THEN
		ELSIF p_expected[i] <> -1 AND actual[i] <> p_expected[i] THEN o_status := 1;
		ELSIF actual[i] = 9223372036854775807 THEN o_status := 3;
		ELSIF NOT removes[i] AND actual[i] = 0 AND ns[s] + added[s] >= p_limits[i] THEN
			SELECT ns[s] + added[s] - count(*) INTO live FROM "taskstore".record r WHERE r.scope = ids[s] AND r.expires < ms;
			IF live >= p_limits[i] THEN o_status := 2; o_number := live; END IF;
		END IF;
		EXIT WHEN o_status <> 0;
		IF removes[i] AND actual[i] > 0 THEN added[s] := added[s] - 1;
		ELSIF NOT removes[i] AND actual[i] = 0 THEN added[s] := added[s] + 1; END IF;
	END LOOP;

	IF o_status = 0 THEN
		FOR i IN 1..k LOOP
			s := scope_of[i];
			IF found_seq[i] IS NOT NULL AND (removes[i] OR actual[i] = 0) THEN
				DELETE FROM "taskstore".record r WHERE r.scope = ids[s] AND r.task = p_tasks[i];
				ns[s] := ns[s] - 1; touched[s] := true;
			END IF;
			IF removes[i] THEN
				CONTINUE WHEN p_datas[i] IS NULL AND actual[i] = 0;
				PERFORM "taskstore".note(p_watches[i], 0, p_tasks[i], p_notify);
				CONTINUE;
			ELSIF actual[i] = 0 THEN
				ns[s] := ns[s] + 1; seqs[s] := greatest(seqs[s] + 1, us); touched[s] := true;
				INSERT INTO "taskstore".record (scope, seq, version, expires, task, ops, data)
					VALUES (ids[s], seqs[s], 1, p_expires[i], p_tasks[i], p_op, p_datas[i]);
			ELSE
				UPDATE "taskstore".record r SET version = actual[i] + 1, expires = p_expires[i],
					ops = p_op || substr(r.ops, 1, 56), data = p_datas[i]
					WHERE r.scope = ids[s] AND r.task = p_tasks[i];
			END IF;
			PERFORM "taskstore".note(p_watches[i], actual[i] + 1, p_tasks[i], p_notify);
		END LOOP;
		o_index := 0;
		o_number := CASE WHEN p_datas[1] IS NULL THEN actual[1] ELSE actual[1] + 1 END;
	END IF;
	FOR s IN 1..cardinality(ids) LOOP
		CONTINUE WHEN NOT touched[s];
		IF ns[s] = 0 THEN
			DELETE FROM "taskstore".scope t WHERE t.id = ids[s];
		ELSE
			UPDATE "taskstore".scope t SET n = ns[s], last_seq = seqs[s] WHERE t.id = ids[s];
		END IF;
	END LOOP;
END $$;

-- put makes one write. An update of a record that is there takes no lock but the
-- record's; what it judged before a wait for that is judged again.
CREATE FUNCTION "taskstore".put(p_owner bytea, p_collection bytea, p_task bytea, p_data bytea, p_expires bigint,
	p_expected bigint, p_limit bigint, p_watch uuid, p_op bytea, p_since bigint, p_notify boolean,
	OUT o_status int, OUT o_number bigint) LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
	v record; ms bigint; after_us bigint; there bigint;
BEGIN
	FOR attempt IN 1..2 LOOP
		EXIT WHEN p_since IS NOT NULL;
		SELECT r.scope, r.seq, r.version, r.expires INTO v FROM "taskstore".scope s JOIN "taskstore".record r ON r.scope = s.id
			WHERE s.owner = p_owner AND s.collection = p_collection AND r.task = p_task;
		ms := "taskstore".now_us() / 1000;
		there := CASE WHEN v.version IS NULL OR v.expires < ms THEN 0 ELSE v.version END;
		IF p_expected <> -1 AND there <> p_expected THEN
			o_status := 1; o_number := there;
			RETURN;
		END IF;
		IF there = 0 OR there = 9223372036854775807 OR p_expires <= ms THEN
			EXIT WHEN attempt = 1;
			-- The UPDATE that failed has left a lock on the record, behind which none on a
			-- scope may be waited for.
			o_status := 5; o_number := there;
			RETURN;
		END IF;
		UPDATE "taskstore".record r SET version = r.version + 1, expires = p_expires, ops = p_op || substr(r.ops, 1, 56), data = p_data
			WHERE r.scope = v.scope AND r.task = p_task AND r.seq = v.seq AND r.version = there
			RETURNING "taskstore".now_us() INTO after_us;
		IF FOUND THEN
			IF v.expires < after_us / 1000 THEN
				RAISE 'the record expired while its lock was waited for' USING ERRCODE = 'serialization_failure';
			END IF;
			PERFORM "taskstore".note(p_watch, there + 1, p_task, p_notify);
			o_status := 0; o_number := there + 1;
			RETURN;
		ELSIF attempt = 2 THEN
			o_status := 5; o_number := there;
			RETURN;
		END IF;
	END LOOP;
	SELECT w.o_status, w.o_number INTO o_status, o_number FROM "taskstore".write(p_owner, ARRAY[p_collection], ARRAY[p_task], ARRAY[p_data],
		ARRAY[p_expires], ARRAY[p_expected], ARRAY[p_limit], ARRAY[p_watch], p_op, p_since, p_notify) w;
END $$;

-- delete removes a record.
CREATE FUNCTION "taskstore".delete(p_owner bytea, p_collection bytea, p_task bytea, p_watch uuid, p_since bigint, p_notify boolean,
	OUT o_status int, OUT o_number bigint) LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
	PERFORM FROM "taskstore".scope s JOIN "taskstore".record r ON r.scope = s.id
		WHERE s.owner = p_owner AND s.collection = p_collection AND r.task = p_task
		AND (r.expires IS NULL OR r.expires >= "taskstore".now_us() / 1000);
	IF NOT FOUND THEN
		o_status := CASE WHEN p_since IS NULL THEN 0 ELSE 4 END; o_number := 0;
		RETURN;
	END IF;
	SELECT w.o_status, w.o_number INTO o_status, o_number FROM "taskstore".write(p_owner, ARRAY[p_collection], ARRAY[p_task], ARRAY[NULL::bytea],
		ARRAY[NULL::bigint], ARRAY[-1::bigint], ARRAY[NULL::bigint], ARRAY[p_watch], ''::bytea, p_since, p_notify) w;
END $$;

-- get reads a record.
CREATE FUNCTION "taskstore".get(p_owner bytea, p_collection bytea, p_task bytea,
	OUT o_version bigint, OUT o_expires bigint, OUT o_data bytea) RETURNS SETOF record LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
	RETURN QUERY SELECT r.version, r.expires, r.data FROM "taskstore".scope s JOIN "taskstore".record r ON r.scope = s.id
		WHERE s.owner = p_owner AND s.collection = p_collection AND r.task = p_task
		AND (r.expires IS NULL OR r.expires >= "taskstore".now_us() / 1000);
END $$;

-- list reads the records of a scope behind p_after whose task begins with p_prefix, in
-- their order. It returns at most p_most and looks at p_scan at most; null: at all. Where
-- there is more to look at, a last row without a task has the place to go on behind.
CREATE FUNCTION "taskstore".list(p_owner bytea, p_collection bytea, p_prefix bytea, p_after bigint, p_most bigint, p_scan bigint,
	OUT o_seq bigint, OUT o_task bytea, OUT o_version bigint, OUT o_expires bigint, OUT o_data bytea) RETURNS SETOF record LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
	ms bigint := "taskstore".now_us() / 1000;
	looked bigint := 0; returned bigint := 0; width int := length(p_prefix); v record;
BEGIN
	FOR v IN SELECT r.seq, r.task, r.version, r.expires, r.data FROM "taskstore".record r
		WHERE r.scope = (SELECT s.id FROM "taskstore".scope s WHERE s.owner = p_owner AND s.collection = p_collection)
		AND r.seq > p_after ORDER BY r.seq
	LOOP
		IF returned = p_most OR looked = p_scan THEN
			o_task := NULL;
			RETURN NEXT;
			RETURN;
		END IF;
		looked := looked + 1; o_seq := v.seq;
		IF (v.expires IS NULL OR v.expires >= ms) AND substr(v.task, 1, width) = p_prefix THEN
			returned := returned + 1;
			o_task := v.task; o_version := v.version; o_expires := v.expires; o_data := v.data;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;

-- owners looks at the p_most owners behind p_after, in the order of their bytes, and says
-- which have records. It goes from owner to owner along the index, whatever they have. What a
-- scope counts, and the index of its expired records, tell whether it has another one.
CREATE FUNCTION "taskstore".owners(p_after bytea, p_most int, OUT o_owner bytea, OUT o_live boolean) RETURNS SETOF record LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
	ms bigint := "taskstore".now_us() / 1000;
BEGIN
	o_owner := p_after;
	FOR i IN 1..p_most LOOP
		SELECT s.owner INTO o_owner FROM "taskstore".scope s WHERE s.owner > o_owner ORDER BY s.owner LIMIT 1;
		EXIT WHEN NOT FOUND;
		o_live := EXISTS (SELECT FROM "taskstore".scope s WHERE s.owner = o_owner
			AND s.n > (SELECT count(*) FROM "taskstore".record r WHERE r.scope = s.id AND r.expires < ms));
		RETURN NEXT;
	END LOOP;
END $$;

-- poll reads the changes that p_since did not see. Every row has what the next poll takes
-- as p_since, and the epoch, of which another says that changes were lost; where there is
-- no change there is one row, without a watch.
--
--	p_since    null: none, but those from now on
--	p_watches  null: all
CREATE FUNCTION "taskstore".poll(p_since text, p_watches uuid[],
	OUT o_watch uuid, OUT o_version bigint, OUT o_task bytea, OUT o_since text, OUT o_epoch uuid) RETURNS SETOF record LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
	since pg_snapshot := p_since;
BEGIN
	SELECT e.id INTO o_epoch FROM "taskstore".epoch e;
	IF NOT FOUND THEN
		INSERT INTO "taskstore".epoch VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING RETURNING id INTO o_epoch;
	END IF;
	-- One statement: what it sees is what its snapshot says.
	RETURN QUERY SELECT c.watch, c.version, c.task, now.snapshot, o_epoch
		FROM (SELECT pg_current_snapshot()::text AS snapshot) now LEFT JOIN "taskstore".change c
		ON c.tx >= pg_snapshot_xmin(since) AND NOT pg_visible_in_snapshot(c.tx, since)
		AND (p_watches IS NULL OR c.watch = ANY (p_watches))
		ORDER BY c.id;
END $$;

-- sweep removes at most about p_most expired records, and changes of transactions before
-- p_before. It passes by scopes that are locked, and counts them. o_xmin is what will do
-- for p_before when every watcher has polled.
CREATE FUNCTION "taskstore".sweep(p_most int, p_before text, OUT o_removed int, OUT o_locked int, OUT o_xmin text) LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
	ms bigint := "taskstore".now_us() / 1000;
	v_scope bigint; v_n bigint; k int;
BEGIN
	o_removed := 0; o_locked := 0; o_xmin := pg_snapshot_xmin(pg_current_snapshot());
	DELETE FROM "taskstore".change c WHERE c.ctid = ANY (ARRAY(
		SELECT d.ctid FROM "taskstore".change d WHERE d.tx < p_before::xid8 ORDER BY d.tx LIMIT 10000 FOR UPDATE SKIP LOCKED));
	FOR v_scope IN SELECT DISTINCT x.scope FROM
		(SELECT r.scope FROM "taskstore".record r WHERE r.expires < ms ORDER BY r.expires LIMIT p_most) x
	LOOP
		SELECT t.n INTO v_n FROM "taskstore".scope t WHERE t.id = v_scope FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			o_locked := o_locked + 1;
			CONTINUE;
		END IF;
		DELETE FROM "taskstore".record r WHERE r.scope = v_scope AND r.expires < ms AND r.task = ANY (ARRAY(
			SELECT d.task FROM "taskstore".record d WHERE d.scope = v_scope AND d.expires < ms ORDER BY d.expires LIMIT p_most));
		GET DIAGNOSTICS k = ROW_COUNT;
		o_removed := o_removed + k;
		IF k = v_n THEN
			DELETE FROM "taskstore".scope t WHERE t.id = v_scope;
		ELSIF k > 0 THEN
			UPDATE "taskstore".scope t SET n = v_n - k WHERE t.id = v_scope;
		END IF;
	END LOOP;
END $$;
