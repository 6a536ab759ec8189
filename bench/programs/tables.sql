-- SPDX-License-Identifier: MIT
-- Filling, indexing, joining and grouping, in memory.
create table t(a integer primary key, b integer, c text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000)
  insert into t select i, i * 7919 % 10007, 'row ' || (i * 31 % 4001) from n;
create index x on t(c);
select count(*) from t p join t q on q.a = p.b where p.c < q.c;
select c, sum(b), max(a) from t group by c having count(*) > 2 order by 2 desc limit 5;
select count(*), sum(length(c)) from t where c like '%7%' and b not between 100 and 5000;
