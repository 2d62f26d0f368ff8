-- Every service owns a schema. A reference to another service's row is a text, and no key crosses a schema.

create schema if not exists user_service;
create table if not exists user_service.users (
    id uuid primary key,
    email text not null unique,
    name text not null,
    password_hash text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create schema if not exists product_service;
create table if not exists product_service.products (
    id uuid primary key,
    name text not null,
    description text not null default '',
    category text not null default '',
    price numeric(12, 2) not null check (price > 0),
    inventory bigint not null check (inventory >= 0),
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create table if not exists product_service.consumer_offsets (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

create schema if not exists order_service;
create table if not exists order_service.orders (
    id uuid primary key,
    user_id text not null,
    status text not null,
    total numeric(14, 2) not null,
    idempotency_key text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (user_id, idempotency_key)
);
create index if not exists orders_of_user on order_service.orders (user_id, created_at);
-- `price` is what the line costs: the product's price times the quantity.
create table if not exists order_service.order_items (
    id uuid primary key,
    order_id uuid not null references order_service.orders (id) on delete cascade,
    product_id text not null,
    quantity bigint not null check (quantity > 0),
    unit_price numeric(12, 2) not null,
    price numeric(14, 2) not null,
    created_at timestamptz not null
);
create index if not exists items_of_order on order_service.order_items (order_id);

create schema if not exists notification_service;
create table if not exists notification_service.notifications (
    id uuid primary key,
    user_id text not null,
    type text not null,
    title text not null,
    message text not null,
    read boolean not null default false,
    created_at timestamptz not null
);
create index if not exists notifications_of_user on notification_service.notifications (user_id, created_at);
create table if not exists notification_service.consumer_offsets (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

create schema if not exists recommendation_service;
create table if not exists recommendation_service.purchases (
    user_id text not null,
    product_id text not null,
    quantity bigint not null,
    primary key (user_id, product_id)
);
create table if not exists recommendation_service.consumer_offsets (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

create schema if not exists payment_service;
create table if not exists payment_service.payments (
    id uuid primary key,
    order_id text not null,
    amount numeric(14, 2) not null,
    refunded numeric(14, 2) not null default 0,
    currency text not null,
    method text not null,
    status text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create table if not exists payment_service.refunds (
    id uuid primary key,
    payment_id uuid not null references payment_service.payments (id) on delete cascade,
    amount numeric(14, 2) not null,
    reason text not null,
    status text not null,
    created_at timestamptz not null
);

-- What the storefront's reports read, outside the services' schemas.
create or replace view public.users as
    select id, email, name, created_at, updated_at from user_service.users;
create or replace view public.orders as
    select id::text as external_id, user_id, status, total, created_at from order_service.orders;
-- Filled by those who audit, not by the shop.
create table if not exists public.payment_audit (
    payment_id text primary key,
    amount numeric(14, 2) not null,
    recorded_at timestamptz not null
);
create schema if not exists mocks;
-- What stands for a system of somebody else: the bank behind the payments.
create table if not exists mocks.mock_servers (
    name text primary key,
    base_url text not null,
    status text not null
);
