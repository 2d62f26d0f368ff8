select quote_literal($1::text)
