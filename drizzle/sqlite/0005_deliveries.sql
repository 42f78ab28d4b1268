CREATE TABLE `deliveries` (
	`id` text PRIMARY KEY NOT NULL,
	`lease_until` integer,
	`attempts` integer DEFAULT 0 NOT NULL,
	`retry_at` integer,
	`error` text
);
