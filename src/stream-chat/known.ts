/** Keeps the newest so many of what was looked up; the oldest is forgotten first. */
export function createKnown<V>(most: number) {
  const kept = new Map<string, V>();
  return {
    get: (id: string): V | undefined => kept.get(id),
    has: (id: string): boolean => kept.has(id),
    put(id: string, value: V): V {
      kept.delete(id);
      kept.set(id, value);
      const [oldest] = kept.size > most ? kept.keys() : [];
      if (oldest !== undefined) kept.delete(oldest);
      return value;
    },
    forget: (id: string) => void kept.delete(id),
    clear: () => kept.clear(),
  };
}

export type Known<V> = ReturnType<typeof createKnown<V>>;
