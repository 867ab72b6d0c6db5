-- Double entry as one would build it in PostgreSQL: what each account was debited and credited, and has pending;
-- each transfer once, by its key. Wallets are numbered below all other accounts, so that rows are always locked in
-- one order; a hot account is locked last and so for the shortest time.
CREATE TABLE account (
    id bigint PRIMARY KEY,
    debits_posted bigint NOT NULL DEFAULT 0,
    debits_pending bigint NOT NULL DEFAULT 0,
    credits_posted bigint NOT NULL DEFAULT 0,
    credits_pending bigint NOT NULL DEFAULT 0,
    limited boolean NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE transfer (
    key bigint PRIMARY KEY,
    debit bigint NOT NULL,
    credit bigint NOT NULL,
    amount bigint NOT NULL,
    pending boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- True when it was booked now, false for a repeat.
CREATE FUNCTION hold(k bigint, d bigint, c bigint, a bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO transfer (key, debit, credit, amount, pending) VALUES (k, d, c, a, true)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM transfer WHERE key = k AND debit = d AND credit = c AND amount = a AND pending) THEN
            RETURN false;
        END IF;
        RAISE 'the key was used for another transfer';
    END IF;
    UPDATE account SET debits_pending = debits_pending + a
        WHERE id = d AND (NOT limited OR credits_posted - debits_posted - debits_pending >= a);
    IF NOT FOUND THEN
        RAISE 'no such account, or too little on it';
    END IF;
    UPDATE account SET credits_pending = credits_pending + a WHERE id = c;
    IF NOT FOUND THEN
        RAISE 'no such account';
    END IF;
    RETURN true;
END $$;

-- So many holds of drawn wallets in one transaction.
CREATE FUNCTION hold_many(holds int, wallets bigint, sites bigint, a bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1..holds LOOP
        PERFORM hold((random() * 9e18)::bigint, 1 + floor(random() * wallets)::bigint,
            1000001 + floor(random() * sites)::bigint, a);
    END LOOP;
END $$;
