-- Lorelei in Ardour without its window; ardour_headless.py runs this and compares what comes of it.
--   make FOLDER NAME CLIPS   a session: the plugin makes a clip, it rolls and is recorded, the tempo changes at bar 3; saved
--   loop FOLDER NAME         the session opened again: says what was restored, rolls a loop and records it

local work, folder, name, clips = arg[1], arg[2], arg[3], arg[4]

local RATE_HZ = 44100
local BAR_FRAMES = 4 * RATE_HZ // 2
local PLUGIN = "4C6F72656C6569496E737472756D6E74" -- "LoreleiInstrumnt"
local USER = ARDOUR.TransportRequestSource.TRS_UI
local STOP = ARDOUR.LocateTransportDisposition.MustStop
local LAST = ARDOUR.PresentationInfo.max_order
local NO_GROUP = PBD.GroupControlDisposition.NoGroup

local function say (what, value)
	print ("say " .. what .. " " .. tostring (value))
	io.flush ()
end

local function start_engine ()
	local backend = AudioEngine:set_backend ("None (Dummy)", "", "")
	assert (not backend:isnil (), "no dummy audio backend")
	backend:set_device_name ("Silence")
	backend:set_sample_rate (RATE_HZ)
	backend:set_buffer_size (1024)
	assert (AudioEngine:start (false) == 0, "the dummy audio backend does not start")
end

-- Parameters by the name that the musician sees.
local function parameters (processor)
	local plugin = processor:to_insert ():plugin (0)
	local numbers = {}
	for number = 0, plugin:parameter_count () - 1 do
		numbers[plugin:parameter_label (number)] = number
	end
	return numbers
end

local function set (processor, label, value)
	local number = parameters (processor)[label]
	assert (number, "no parameter " .. label)
	assert (ARDOUR.LuaAPI.set_processor_param (processor, number, value), label .. " is not settable")
end

local function await_clip ()
	for _ = 1, 150 do
		sleep (1)
		local found = io.popen ("ls " .. clips .. " 2>/dev/null"):read ("a")
		if found:find ("%.json") then return end
	end
	error ("no clip came into " .. clips)
end

local function locate (session, frame)
	session:request_locate (frame, false, STOP, USER)
	sleep (1)
end

-- The recording track hears the plugin's track alone.
local function connect (plugin_track, recorder)
	for channel = 0, 1 do
		local input = recorder:input ():audio (channel)
		input:disconnect_all ()
		assert (input:connect (plugin_track:output ():audio (channel):name ()) == 0, "tracks cannot be connected")
	end
end

local function arm (session, recorder, is_armed)
	recorder:rec_enable_control ():set_value (is_armed and 1 or 0, NO_GROUP)
	if is_armed then session:maybe_enable_record (false) end
	sleep (1)
end

local function stop (session)
	session:request_stop (false, false, USER)
	sleep (1)
end

local function make ()
	local session = create_session (folder, name, RATE_HZ)
	assert (session, "the session cannot be made")
	local midi, stereo = ARDOUR.ChanCount (ARDOUR.DataType ("midi"), 1), ARDOUR.ChanCount (ARDOUR.DataType ("audio"), 2)
	local mode = ARDOUR.TrackMode.Normal
	local none = ARDOUR.PluginInfo ()
	local track = session:new_midi_track (midi, stereo, true, none, nil, nil, 1, "Lorelei", LAST, mode, true):front ()
	local plugin = ARDOUR.LuaAPI.new_plugin (session, PLUGIN, ARDOUR.PluginType.VST3, "")
	assert (not plugin:isnil (), "Ardour does not make the plugin")
	assert (track:add_processor_by_index (plugin, 0, nil, true) == 0, "the plugin cannot be inserted")
	local count = 0
	for label, number in pairs (parameters (plugin)) do count = count + 1 end
	say ("parameters", count)

	set (plugin, "Bars", 1)
	set (plugin, "Gain", -6)
	set (plugin, "Generate", 1)
	await_clip ()
	set (plugin, "Generate", 0)
	local recorder = session:new_audio_track (2, 2, nil, 1, "Recorder", LAST, mode, true):front ()
	connect (track, recorder)

	arm (session, recorder, true)
	session:request_roll (USER)
	sleep (6)
	stop (session)
	arm (session, recorder, false)
	recorder:mute_control ():set_value (1, NO_GROUP)

	session:locations ():add_range (Temporal.timepos_t (BAR_FRAMES), Temporal.timepos_t (2 * BAR_FRAMES))
	local range = session:locations ():session_range_location ()
	range:set_start (Temporal.timepos_t (0))
	range:set_end (Temporal.timepos_t (6 * BAR_FRAMES))
	local tempos = Temporal.TempoMap.write_copy ()
	tempos:set_tempo (Temporal.Tempo (96, 96, 4), Temporal.timepos_t.from_ticks (Temporal.ticks_per_beat * 8))
	Temporal.TempoMap.update (tempos)
	tempos = nil
	locate (session, 0)
	assert (session:save_state ("") == 0, "the session is not saved")
end

local function loop ()
	local session = load_session (folder, name)
	assert (session, "the saved session does not open")
	local track, recorder = session:route_by_name ("Lorelei"), session:route_by_name ("Recorder"):to_track ()
	local plugin = track:nth_plugin (0)
	assert (not plugin:isnil (), "the saved session has lost the plugin")
	for label, number in pairs (parameters (plugin)) do
		say ("restored:" .. label:gsub (" ", "_"), (ARDOUR.LuaAPI.get_plugin_insert_param (plugin:to_insert (), number, false)))
	end
	say ("tempo", Temporal.TempoMap.read ():quarters_per_minute_at (Temporal.timepos_t (5 * RATE_HZ)))

	recorder:mute_control ():set_value (0, NO_GROUP)
	arm (session, recorder, true)
	locate (session, BAR_FRAMES)
	session:request_play_loop (true, false)
	sleep (1)
	assert (session:get_play_loop (), "Ardour does not loop")
	if not session:transport_rolling () then session:request_roll (USER) end
	sleep (6)
	stop (session)
end

start_engine ()
if work == "make" then make () else loop () end
close_session ()
say ("done", work)
quit ()
