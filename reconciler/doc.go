// Package reconciler brings a served tree to what a git commit says. One pass reads like a table of contents:
//
//	observe.Damage(root) → plan.RepairOf → repair.Names
//	plan.Holds.InForce → which commit, and as of which its FECs stay
//	plan.Pilot → which FECs get a pilot's version, which packages are served
//	repo.Files → load.Site → desired.Check ─┐
//	                                        ├ build.Make → tree.Of → plan.Make
//	observe.Root(root) ─────────────────────┘        → publish.Seal → render.Tree → publish.Generation
//	                                                 → prune.Generations → report.Report
//
// Read in this order: reconciler.go (one pass), scrub.go (what it repairs first), desired/ (what people ask for), tree/ (what is served), plan/ (every
// decision, pure, with a reason), then the verbs.
//
// What holds something back is judged in plan/hold.go alone; hold.go brings together what it judges by and renders held FECs,
// operate.go is what operators do to holds, records.go keeps the ledger open,
// records_place.go says where it lies, records_published.go enters what is published.
//
// loop.go says when a service makes passes, follow.go when it fetches what another host has; observer.go tells others how
// they go; tell.go tells the forge what became of each commit, redeliver.go asks it for deliveries that were missed. Top-level
// room webhook turns a forge's delivery into a hint for the loop.
//
// review.go says on pull requests what their merge would do; check.go makes that plan, and compares what is about to be
// published with what a check has seen. preview.go serves the trees of open pull requests, which it makes beside passes.
//
// hook.go asks hooks before publication, and tells them after it, beside passes.
//
// What a FEC lives through after its boot happens beside passes too, as published_site.go says what is published. reports.go
// enters what FECs say, fec.go and fec_check.go tell people and monitoring what they run. The files restarter… have them restarted as
// plan.Restarts decides: a FEC that must go back to the release before gets a hold, and the loop a kick. Room collect brings
// their persistent data. dev.go packs what a developer puts on one of them, which no pass ever sees.
//
// The files campaigner… carry out campaigns beside passes: plan decides from what the ledger knows, room observe reads datasets, room submit hands in
// what is due, and a goroutine for each batch system looks what has become of it. campaigner_tend.go is one decision, campaigner_stage.go what
// follows from it, campaigner_cut.go new slices, campaigner_judge.go what became of them, campaigner_approval.go who has approved,
// campaigner_rebuild.go what a lost ledger is made of again, campaigner_kept.go what is kept for that, campaigner_forget.go what is removed long after
// the end of a run.
//
// How far pilots are is part of each pass, as holds are: pilot.go judges them by facts, plan.Pilot decides, and their places are givens of the tree. A
// FEC of an open wave gets the pilot's version in the place of its own pin (plan.Piloted), and its own again when the pilot is halted, denied,
// withdrawn or over, or when its release changes; what was promoted stays until the pilot's file goes or the site pins something newer. A FEC that is
// held keeps what a pilot put there; one that went back to the release before has nothing of pilots. pilot_ledger.go is what the ledger remembers:
// who wrote which record, what FECs have proven to run and since when, what was open. prover.go finds out beside passes who wrote records, and asks
// for a pass; the clock and FECs do so too, at the loop's turns. Whatever is not known takes nothing from anybody: a pilot stays as published then,
// and says why; so does one that cannot be served or whose FECs could not run it. Checks and previews of pull requests judge pilots by what is
// proven already: a record that is new there counts once it is merged and proven. Whoever has neither a service nor its ledger, as pomona plan --base,
// takes each record as written by whom it names, and says so. Who has a role in a pilot is itself proven: by a chain of agreements to what it
// says of itself (plan/pilot_terms.go), without which nothing moves but by a halt, a failure or its last day; each generation has that chain, and the next goes on from it
// (pilot_agreed.go).
//
// prerequisite.go says how far prerequisites are, prerequisite_trial.go tries them on clean machines, prerequisite_record.go writes down what was found
// out, prerequisite_people.go knows who wrote what a prerequisite says of itself: none of them reviews it, and prerequisite_answers.go who answers for
// it: nobody does by naming himself. Who wrote its records finds out prover.go as of
// pilots, by the commit that wrote each down first (record_origin.go). record.go sees that no record is changed or removed, and that no name comes back
// without what was proven of it.
//
// RPM repositories of pilots: pilot_packages.go is what packages say of themselves, pilot_repository.go makes what repositories are laid out from,
// and withholds a pilot that is in trouble; pilot_mirror.go compares what lies elsewhere.
//
// Beside passes, reading only: verify.go compares what is served with a commit, explain.go says where a path comes from,
// history.go what each generation changed. release.go brings what a build has left into the site itself.
//
// What people look at in a browser are the same values as commands print: fleet.go, fec_seen.go, software.go, passes.go, campaigner_seen.go,
// restarter_waves.go, prerequisite_page.go and pilot_see.go work them out, room report says what they are, serve/page*.go shows them. pass_keeper.go keeps
// what passes did, beside them, and review_show.go what was found of pull requests.
//
// The house has three kinds of rooms, and rooms_test.go holds who may import whom:
//
//   - Ground: artifact (names bytes), durable (writes that survive), store (objects by digest), memo (what was worked out
//     before), ledger (records what happened, in SQLite or PostgreSQL), remote (HTTPS, OCI, ssh), repo (git), forge (pull
//     requests), engine (batch systems), rpm (packages and their repositories).
//   - Known, pure values without I/O, each importing only those to its left: desired ← tree ← observed ← plan ← report.
//   - Done, verbs that never import each other: fetch, load, build, observe, repair, render, publish, prune,
//     announce, propose, boot, serve, collect, restart, submit. boot/crowd is many FECs in one process, for demos and tests.
//
// A plan is made when the artifacts are there, because their digests decide what a FEC will fetch; an artifact whose
// inputs are known is not read again, so that a plan without changes reads no payload at all.
//
// The laws:
//
//  1. After a successful pass, planning again yields nothing but steps that a named hold still blocks.
//  2. A pass may die at any instruction; the next one needs no human and loses nothing.
//  3. Nothing is visible until publish turns one link.
//  4. A tree is a function of the git tree, Pomona's version and the givens in generation.json. Any machine renders the
//     same.
//  5. Prune never removes what the current or the previous generation names, nor what a FEC said last that it runs, a preview
//     or a hold names. A commit that takes away more than its share must say so.
//  6. An invalid commit changes nothing at all.
//  7. What a FEC says decides something only if its token or pinned ssh proves it; persistent data is read whole before it
//     replaces any.
//  8. Repository content is hostile input, and so is what FECs send: CUE runs in limited children, paths go through os.Root, archives are linted.
//
// How a pass survives: all temporaries lie in .pomona/staging, which the next writer empties; content is synced before
// the rename that names it; a mark, .pomona/unfinished, tells the next pass to look for objects that nothing names.
package reconciler
